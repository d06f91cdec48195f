// Command exporter writes records as Cilium's own exporter does: with a field mask, or aggregated.
//
//	exporter -capture FILE -write FILE [-mask PATH,PATH] [-aggregate PATH,PATH] [-redact] [-rotate [-compress]]
//
// With -rotate FILE is what its own writer makes, as an agent does: renamed once it has a megabyte
// (--hubble-export-file-max-size-mb), and packed by -compress (--hubble-export-file-compress).
// The paths are those of flow.Flow, as in an agent's --hubble-export-fieldmask and
// --hubble-export-fieldaggregate. With -redact what the proxy saw of HTTP goes through Hubble's own layer 7
// parser with hubble.redact.enabled, http.urlQuery and http.userInfo on, and no header allowed.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/exporter"
	"github.com/cilium/cilium/pkg/hubble/parser/options"
	"github.com/cilium/cilium/pkg/hubble/parser/seven"
	"github.com/cilium/cilium/pkg/proxy/accesslog"

	"flowwatch.test/interop/internal/capture"
)

// The aggregates are written when the exporter stops, all at once.
const never = 24 * time.Hour

func main() {
	log.SetFlags(0)
	from := flag.String("capture", "", "`file` of records")
	to := flag.String("write", "", "`file` to write")
	mask := flag.String("mask", "", "fields to keep")
	aggregate := flag.String("aggregate", "", "fields that make the key of an aggregated line")
	redact := flag.Bool("redact", false, "hide what hubble.redact hides of HTTP")
	rotate := flag.Bool("rotate", false, "rename the file at each megabyte")
	compress := flag.Bool("compress", false, "pack what was renamed")
	flag.Parse()
	writer := func() (io.WriteCloser, error) { return os.Create(*to) }
	if *rotate {
		writer = exporter.FileWriter(exporter.FileWriterConfig{Filename: *to, MaxSize: 1, Compress: *compress})
	}
	if err := run(*from, writer, *mask, *aggregate, *redact); err != nil {
		log.Fatal("exporter: ", err)
	}
}

func run(from string, writer exporter.NewWriterFunc, mask, aggregate string, redact bool) error {
	events, skipped, err := capture.ReadFile(from, time.Now())
	if err := errors.Join(append(skipped, err)...); err != nil {
		return err
	}
	if redact {
		if err := hide(events); err != nil {
			return err
		}
	}
	chosen := []exporter.Option{exporter.WithNewWriterFunc(writer)}
	if mask != "" {
		chosen = append(chosen, exporter.WithFieldMask(strings.Split(mask, ",")))
	}
	if aggregate != "" {
		chosen = append(chosen,
			exporter.WithFieldAggregate(strings.Split(aggregate, ",")),
			exporter.WithAggregationInterval(never))
	}
	out, err := exporter.NewExporter(slog.New(slog.DiscardHandler), chosen...)
	if err != nil {
		return err
	}
	for _, event := range events {
		if err := out.Export(context.Background(), event); err != nil {
			return err
		}
	}
	return out.Stop()
}

// hide replaces the HTTP of each flow by what Hubble's parser makes of it while it redacts.
func hide(events []*v1.Event) error {
	parser, err := seven.New(slog.New(slog.DiscardHandler), nil, nil, nil, nil,
		options.WithRedact(true, true, nil, nil))
	if err != nil {
		return err
	}
	for _, event := range events {
		flow, _ := event.Event.(*flowpb.Flow)
		seen := flow.GetL7().GetHttp()
		if seen == nil {
			continue
		}
		asked, err := url.Parse(seen.GetUrl())
		if err != nil {
			return err
		}
		headers := http.Header{}
		for _, one := range seen.GetHeaders() {
			headers.Add(one.GetKey(), one.GetValue())
		}
		kind := accesslog.TypeRequest
		if flow.GetL7().GetType() == flowpb.L7FlowType_RESPONSE {
			kind = accesslog.TypeResponse
		}
		made := &flowpb.Flow{}
		err = parser.Decode(&accesslog.LogRecord{
			Type:      kind,
			Timestamp: event.Timestamp.AsTime().Format(time.RFC3339Nano),
			Verdict:   accesslog.VerdictForwarded,
			HTTP: &accesslog.LogRecordHTTP{
				Code:     int(seen.GetCode()),
				Method:   seen.GetMethod(),
				URL:      asked,
				Protocol: seen.GetProtocol(),
				Headers:  headers,
			},
		}, made)
		if err != nil {
			return err
		}
		flow.L7 = made.GetL7()
	}
	return nil
}
