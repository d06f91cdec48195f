// Command observer is Hubble's real observer as an agent serves it, fed with records instead
// of kernel events: from captures, from standard input, or made up by the traffic generator.
//
// When it serves, it prints one JSON line:
//
//	{"address":"127.0.0.1:41234","node":"worker1","records":10,"skipped":0}
//
// (records in the ring from captures and the generator; skipped: records of captures that could not be
// read, each said on stderr) and, with -stdin, {"written":N} for each empty line read, once all lines before it can be
// read by clients (N counts from the start), or {"error":"…"} for a line that is no record.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cilium/cilium/pkg/crypto/certloader"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/container"
	"github.com/cilium/cilium/pkg/hubble/server"
	"github.com/cilium/cilium/pkg/hubble/server/serveroption"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"google.golang.org/protobuf/types/known/timestamppb"

	"flowwatch.test/interop/internal/capture"
	"flowwatch.test/interop/internal/traffic"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

type config struct {
	listen, node              string
	capacity                  int
	captures                  list
	shiftToNow                bool
	rename, holdBack          bool
	stdin, exitWithStdin      bool
	tlsCert, tlsKey, clientCA string
	debug                     bool

	generate            int
	seed                uint64
	density, rate       float64
	endTime             string
	writeCapture, truth string
}

// end is the time of the newest generated record.
func (c config) end() time.Time {
	if end, err := time.Parse(time.RFC3339Nano, c.endTime); err == nil {
		return end
	}
	return time.Now()
}

func (c config) check() error {
	if _, err := time.Parse(time.RFC3339Nano, c.endTime); c.endTime != "" && err != nil {
		return err
	}
	if c.writeCapture != "" && c.generate <= 0 {
		return errors.New("-write-capture needs -generate")
	}
	if c.density <= 0 || c.rate < 0 || c.generate < 0 {
		return errors.New("-density must be above 0, -rate and -generate not below")
	}
	return nil
}

func main() {
	var c config
	flag.StringVar(&c.listen, "listen", "127.0.0.1:0", "TCP `address` to serve on; port 0 takes a free one")
	flag.StringVar(&c.node, "node", "worker1", "node `name`, or cluster/name")
	flag.IntVar(&c.capacity, "capacity", 65535, "records that the ring holds: 2^n-1, at most 65535")
	flag.Var(&c.captures, "capture", "`file` of records for the ring, in time order; may be repeated")
	flag.BoolVar(&c.shiftToNow, "shift-to-now", false, "move the captures' times so that the newest record is now")
	flag.BoolVar(&c.rename, "rename-node", false, "give every record this node's name, not only those without one")
	flag.BoolVar(&c.holdBack, "hold-back", false, "as an agent: the newest record shows only when the next comes")
	flag.BoolVar(&c.stdin, "stdin", false, "write the JSON records from standard input to the ring as they come")
	flag.BoolVar(&c.exitWithStdin, "exit-with-stdin", false, "with -stdin: end when standard input does")
	flag.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file`: serve TLS with this certificate")
	flag.StringVar(&c.tlsKey, "tls-key", "", "PEM `file`: its key")
	flag.StringVar(&c.clientCA, "tls-client-ca", "", "PEM `file`: ask clients for certificates of this CA")
	flag.IntVar(&c.generate, "generate", 0, "put `N` made-up records into the ring")
	flag.Uint64Var(&c.seed, "seed", 1, "the made-up records are the same for the same `number`, but for their times")
	flag.Float64Var(&c.density, "density", 500, "made-up records per second of their time")
	flag.StringVar(&c.endTime, "end", "", "RFC 3339 `time` of the newest record of -generate; now by default")
	flag.Float64Var(&c.rate, "rate", 0, "then go on with `N` made-up records a second")
	flag.StringVar(&c.writeCapture, "write-capture", "", "write the records of -generate to a `file` and don't serve")
	flag.StringVar(&c.truth, "truth", "", "write to a `file` what really happened in the records of -generate: attempts per pod and egress destination")
	flag.BoolVar(&c.debug, "debug", false, "log as an agent with debugging on")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unexpected argument %q", flag.Arg(0)))
	}
	if err := c.check(); err != nil {
		fail(err)
	}
	if err := run(c); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "observer:", err)
	os.Exit(1)
}

func run(c config) error {
	setNode(c.node)
	level := slog.LevelWarn
	if c.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	capacity, err := container.NewCapacity(c.capacity)
	if err != nil {
		return err
	}
	gen := traffic.New(c.seed, nodetypes.GetAbsoluteNodeName(), c.density)
	if c.writeCapture != "" {
		return generatedOnly(c, gen)
	}
	rename := ""
	if c.rename {
		rename = nodetypes.GetAbsoluteNodeName()
	}

	events, skipped, err := records(c)
	if err != nil {
		return err
	}
	if c.generate > 0 {
		events = append(events, gen.Fill(c.generate, c.end())...)
		capture.Sort(events)
		if c.truth != "" {
			if err := writeTruth(c.truth, gen); err != nil {
				return err
			}
		}
	}
	feed, err := newFeeder(log, capacity, c.holdBack, rename)
	if err != nil {
		return err
	}
	feed.begin(len(events) == 0)
	for _, ev := range events {
		feed.write(ev)
	}
	feed.flush()

	srv, address, err := listen(c, log, feed)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{
		"address": address,
		"node":    nodetypes.GetAbsoluteNodeName(),
		"records": len(events),
		"skipped": skipped,
	}); err != nil {
		return err
	}

	ended := make(chan error, 1)
	go func() { ended <- srv.Serve() }()
	if c.rate > 0 {
		go keepWriting(feed, gen, c.rate)
	}
	if c.stdin {
		go func() {
			err := fromStdin(feed, out)
			if err != nil || c.exitWithStdin {
				ended <- err
			}
		}()
	}
	return <-ended
}

// setNode takes a name as Hubble prints it: node, or cluster/node.
func setNode(name string) {
	if cluster, node, ok := strings.Cut(name, "/"); ok {
		option.Config.ClusterName = cluster
		name = node
	}
	nodetypes.SetName(name)
}

func records(c config) (events []*v1.Event, skipped int, err error) {
	for _, path := range c.captures {
		read, bad, err := capture.ReadFile(path, time.Now())
		if err != nil {
			return nil, 0, err
		}
		for _, err := range bad {
			fmt.Fprintln(os.Stderr, "observer: skipped:", err)
		}
		events = append(events, read...)
		skipped += len(bad)
	}
	capture.Sort(events)
	if c.shiftToNow && len(events) > 0 {
		shift := time.Since(events[len(events)-1].Timestamp.AsTime())
		for _, ev := range events {
			ev.Timestamp = timestamppb.New(ev.Timestamp.AsTime().Add(shift))
			if flow := ev.GetFlow(); flow != nil {
				flow.Time = ev.Timestamp
			}
		}
	}
	return events, skipped, nil
}

func listen(c config, log *slog.Logger, feed *feeder) (*server.Server, string, error) {
	socket, err := net.Listen("tcp", c.listen)
	if err != nil {
		return nil, "", err
	}
	security := serveroption.WithInsecure()
	if c.tlsCert != "" || c.tlsKey != "" {
		var clientCAs []string
		if c.clientCA != "" {
			clientCAs = []string{c.clientCA}
		}
		tls, err := certloader.NewWatchedServerConfig(log, clientCAs, c.tlsCert, c.tlsKey)
		if err != nil {
			return nil, "", err
		}
		security = serveroption.WithServerTLS(tls)
	} else if c.clientCA != "" {
		return nil, "", errors.New("-tls-client-ca needs -tls-cert and -tls-key")
	}
	srv, err := server.NewServer(log,
		func(o *serveroption.Options) error { o.Listener = socket; return nil },
		security,
		serveroption.WithHealthService(),
		serveroption.WithObserverService(feed.obs),
	)
	return srv, socket.Addr().String(), err
}
