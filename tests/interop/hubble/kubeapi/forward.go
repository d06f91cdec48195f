package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"k8s.io/apimachinery/pkg/util/proxy"
)

// forwarder is the container runtime: where its pods' ports lead, and what is open to them.
type forwarder struct {
	server  streaming.Server
	handler http.Handler
	mu      sync.Mutex
	targets map[string]string // pod → address of what listens in it
	open    map[net.Conn]string
	opened  int
}

func newForwarder() (*forwarder, error) {
	f := &forwarder{targets: map[string]string{}, open: map[net.Conn]string{}}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := streaming.DefaultConfig
	config.Addr = socket.Addr().String()
	config.BaseURL = &url.URL{Scheme: "http", Host: config.Addr, Path: "/"}
	f.server, err = streaming.NewServer(config, f)
	if err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(socket, f.server) }()
	return f, nil
}

// serve hands a request for pods/portforward to the runtime's streaming server, as API server and
// kubelet do.
func (f *forwarder) serve(w http.ResponseWriter, r *http.Request, pod string) {
	// The API server takes "ports" and asks the kubelet for "port" (registry/core/pod, streamParams).
	query := url.Values{}
	if ports := r.URL.Query()["ports"]; len(ports) > 0 {
		query.Set("port", strings.Join(ports, ","))
	}
	r.URL.RawQuery = query.Encode()
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := f.server.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: pod, Port: options.Ports})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	location, err := url.Parse(answer.Url)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	handler := proxy.NewUpgradeAwareHandler(location, nil, false, true, responder{})
	handler.ServeHTTP(w, r)
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// PortForward is one connection to a port of a pod (containerd does the same in its namespace).
func (f *forwarder) PortForward(_ context.Context, pod string, port int32, stream io.ReadWriteCloser) error {
	f.mu.Lock()
	target, known := f.targets[pod]
	f.mu.Unlock()
	if !known {
		return fmt.Errorf("pod %q not found", pod)
	}
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside the pod's network namespace: %w", port, err)
	}
	f.mu.Lock()
	f.open[conn] = pod
	f.opened++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.open, conn)
		f.mu.Unlock()
		conn.Close()
	}()
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, stream)
		done <- err
	}()
	go func() {
		_, err := io.Copy(stream, conn)
		done <- err
	}()
	err = <-done
	if errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("lost connection to pod %s", pod)
	}
	return err
}

// cut ends all connections to a pod ("" for all pods) and says how many there were.
func (f *forwarder) cut(pod string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for conn, of := range f.open {
		if pod == "" || of == pod {
			conn.Close()
			count++
		}
	}
	return count
}

func (*forwarder) Exec(context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("no exec here")
}

func (*forwarder) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("no attach here")
}
