// Command lab is the node of the kernel lab: Cilium's datapath in small, its policy engine and proxies, and
// the real Hubble parser and observer on a Unix socket. It runs in the node's network namespace.
//
// The first line of standard input is the world: {"pods": [...], "ports": {"TCP": [...], "UDP": [...]}}. Then each
// line is a command, answered by a line:
//
//	{"policy": "<YAML>", "audit": false}  {"enforced": {...}, "entries": N, "time": seconds}
//	{"truth": true}                       {"truth": [...], "sent": N, "failed": N, "lost": N, "read": N, "unforeseen": N}
//
// It ends with its standard input; programs, maps and socket go with it. With -try it only loads and attaches.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cilium/ebpf/perf"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/container"
	"github.com/cilium/cilium/pkg/hubble/observer"
	"github.com/cilium/cilium/pkg/hubble/observer/namespace"
	"github.com/cilium/cilium/pkg/hubble/observer/observeroption"
	"github.com/cilium/cilium/pkg/hubble/observer/types"
	"github.com/cilium/cilium/pkg/hubble/parser"
	"github.com/cilium/cilium/pkg/hubble/server"
	"github.com/cilium/cilium/pkg/hubble/server/serveroption"
	"github.com/cilium/cilium/pkg/hubble/testutils"
	"github.com/cilium/cilium/pkg/identity"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/proxy/accesslog"
)

type node struct {
	logger   *slog.Logger
	world    *world
	datapath *datapath
	obs      *observer.LocalObserverServer

	mutex   sync.Mutex // of the policies, and of what is made of them
	engine  *engine
	audit   bool
	refused map[proxied]uint64

	logged     chan accesslog.LogRecord
	read, lost atomic.Uint64
	fed        atomic.Int64
}

type command struct {
	Policy *string `json:"policy"`
	Audit  bool    `json:"audit"`
	Truth  bool    `json:"truth"`
}

func main() {
	object := flag.String("object", "", "the datapath's object `file`")
	socket := flag.String("socket", "", "Unix `socket` to serve Hubble's API on")
	pages := flag.Int("pages", 64, "pages of the perf ring of each CPU")
	try := flag.Bool("try", false, "only load the datapath and attach it to lo")
	flag.Parse()
	if err := run(*object, *socket, *pages, *try); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(object, socket string, pages int, try bool) error {
	configure()
	made, err := load(object)
	if err != nil {
		return err
	}
	defer made.Close()
	if try {
		return made.attach("lo")
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	if !lines.Scan() {
		return errors.New("no world")
	}
	w := &world{names: newNames()}
	if err := json.Unmarshal(lines.Bytes(), w); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	n := &node{logger: logger, world: w, datapath: made, refused: map[proxied]uint64{}, logged: make(chan accesslog.LogRecord, 1024)}
	n.engine = &engine{logger: slog.New(slog.DiscardHandler), world: w, numbers: map[string]identity.NumericIdentity{}}
	if err := n.observe(socket); err != nil {
		return err
	}
	defer os.Remove(socket)
	if err := errors.Join(n.serveDNS(), n.serveHTTP(), n.apply()); err != nil {
		return err
	}
	reader, err := perf.NewReader(made.collection.Maps["events"], pages*os.Getpagesize())
	if err != nil {
		return err
	}
	defer reader.Close()
	go n.readEvents(reader)
	for _, each := range w.Pods {
		if each.Link != "" {
			if err := made.attach(each.Link); err != nil {
				return err
			}
		}
	}
	go n.forget()
	go n.log()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{"address": "unix://" + socket}); err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		defer stop()
		for lines.Scan() {
			answer, err := n.obey(lines.Bytes())
			if err != nil {
				answer = map[string]any{"error": err.Error()}
			}
			_ = out.Encode(answer)
		}
	}()
	<-ended.Done()
	return nil
}

// ready lets finished events pass the real parser.
type ready struct{ parser.Decoder }

func (d ready) Decode(e *types.MonitorEvent) (*v1.Event, error) {
	if done, ok := e.Payload.(*v1.Event); ok {
		return done, nil
	}
	return d.Decoder.Decode(e)
}

// observe starts Hubble's observer and serves it.
func (n *node) observe(socket string) error {
	nodetypes.SetName("lab-node")
	real, err := parser.New(n.logger, n.world, n.world, n.world, n.world,
		&testutils.NoopServiceGetter, &testutils.NoopLinkGetter, &testutils.NoopPodMetadataGetter)
	if err != nil {
		return err
	}
	n.obs, err = observer.NewLocalServer(ready{real}, namespace.NewManager(), n.logger,
		observeroption.WithMaxFlows(container.Capacity65535), observeroption.WithMonitorBuffer(16384))
	if err != nil {
		return err
	}
	go n.obs.Start()
	listening, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	serving, err := server.NewServer(n.logger,
		func(o *serveroption.Options) error { o.Listener = listening; return nil },
		serveroption.WithInsecure(), serveroption.WithHealthService(), serveroption.WithObserverService(n.obs))
	if err != nil {
		return err
	}
	go func() { _ = serving.Serve() }()
	go n.reveal()
	return nil
}

func (n *node) feed(payload any) {
	n.obs.GetEventsChannel() <- &types.MonitorEvent{
		UUID: uuid.New(), Timestamp: time.Now(), NodeName: nodetypes.GetAbsoluteNodeName(), Payload: payload,
	}
	n.fed.Store(time.Now().UnixNano())
}

// reveal writes an agent's event behind the last record: Hubble holds the newest of its ring back, and a
// ring with fewer than two can't be followed.
func (n *node) reveal() {
	shown := int64(-1)
	for ; ; time.Sleep(20 * time.Millisecond) {
		if last := n.fed.Load(); last != shown && time.Now().UnixNano()-last > int64(50*time.Millisecond) {
			shown = last
			n.obs.GetEventsChannel() <- &types.MonitorEvent{Timestamp: time.Now(), Payload: started()}
			n.obs.GetEventsChannel() <- &types.MonitorEvent{Timestamp: time.Now(), Payload: started()}
		}
	}
}

func started() *v1.Event {
	return &v1.Event{Timestamp: &timestamppb.Timestamp{}, Event: &flowpb.AgentEvent{
		Type:         flowpb.AgentEventType_AGENT_STARTED,
		Notification: &flowpb.AgentEvent_AgentStart{AgentStart: &flowpb.TimeNotification{}},
	}}
}

func (n *node) readEvents(reader *perf.Reader) {
	for {
		record, err := reader.Read()
		if err != nil {
			return
		}
		if record.LostSamples > 0 {
			n.lost.Add(record.LostSamples)
			n.feed(&types.LostEvent{
				Source: types.LostEventSourcePerfRingBuffer, NumLostEvents: record.LostSamples, CPU: record.CPU,
			})
			continue
		}
		n.read.Add(1)
		n.feed(&types.PerfEvent{Data: record.RawSample, CPU: record.CPU})
	}
}

func (n *node) obey(line []byte) (map[string]any, error) {
	var asked command
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	if asked.Truth {
		return n.tell()
	}
	if asked.Policy == nil {
		return nil, errors.New("no such command")
	}
	documents, err := readPolicies(n.engine.logger, *asked.Policy)
	if err != nil {
		return nil, err
	}
	n.mutex.Lock()
	n.engine.documents, n.audit = documents, asked.Audit
	n.engine.revision++
	n.mutex.Unlock()
	if err := n.apply(); err != nil {
		return nil, err
	}
	return map[string]any{"entries": len(n.datapath.questions), "time": float64(time.Now().UnixNano()) / 1e9}, nil
}

// apply makes the kernel's maps say what policies and names say now.
func (n *node) apply() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.engine.identify()
	all, computed := map[question]decision{}, map[*pod]enforced{}
	for _, each := range n.world.Pods {
		if each.Link == "" {
			continue
		}
		made, err := n.engine.compute(each)
		if err != nil {
			return err
		}
		computed[each] = made
		each.mutex.Lock()
		each.policy, each.revision = made.policy, n.engine.revision
		each.mutex.Unlock()
		decide(n.world, each, made, all)
	}
	if err := errors.Join(n.datapath.setDecisions(all), n.datapath.setIdentities(n.world.prefixes)); err != nil {
		return err
	}
	for each, made := range computed {
		if err := n.datapath.setEndpoint(each, made, n.audit); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) learn(name string, addresses []netip.Addr, ttl uint32) {
	changed := false
	for _, each := range addresses {
		name := strings.ToLower(strings.TrimSuffix(name, "."))
		if n.world.names.learn(name, each, time.Duration(ttl)*time.Second) {
			changed = true
		}
	}
	if changed {
		if err := n.apply(); err != nil {
			n.logger.Error("names", "error", err)
		}
	}
}

// forget drops names whose time is over.
func (n *node) forget() {
	for range time.Tick(200 * time.Millisecond) {
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		if n.world.names.expire(n.datapath.alive(uint64(now.Nano()))) {
			if err := n.apply(); err != nil {
				n.logger.Error("names", "error", err)
			}
		}
	}
}

func (n *node) refuse(one proxied) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.refused[one]++
}

// drained waits until all that the kernel has sent was read, and gives what it tells.
func (n *node) drained() (told [3]uint64, err error) {
	for range 2000 {
		now, err := n.datapath.told()
		if told == [3]uint64{} {
			told = now
		}
		if err != nil || n.read.Load() >= told[0] {
			return now, err
		}
		time.Sleep(time.Millisecond)
	}
	return told, nil
}

func (n *node) tell() (map[string]any, error) {
	told, err := n.drained()
	truth, failed := n.datapath.truth()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for at := range truth {
		one := &truth[at]
		for asked, times := range n.refused {
			same := asked.from.Addr().String() == one.Local && asked.from.Port() == one.LocalPort &&
				asked.to.Addr().String() == one.Remote && asked.to.Port() == one.RemotePort
			if same {
				one.Refused += times
			}
		}
	}
	return map[string]any{
		"truth": truth, "sent": told[0], "failed": told[1], "unforeseen": told[2], "read": n.read.Load(), "lost": n.lost.Load(),
	}, nil
}
