package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// runtime is the container runtime: where its pods' ports lead, and what is open to them. A pod is
// "NAMESPACE/NAME".
type runtime struct {
	mu      sync.Mutex
	targets map[string]string // pod → address of what listens in it
	open    map[net.Conn]string
	opened  map[string]int
}

func newRuntime() *runtime {
	return &runtime{targets: map[string]string{}, open: map[net.Conn]string{}, opened: map[string]int{}}
}

// PortForward is one connection to a port of a pod (containerd does the same in its namespace).
func (r *runtime) PortForward(_ context.Context, pod string, port int32, stream io.ReadWriteCloser) error {
	r.mu.Lock()
	target, known := r.targets[pod]
	r.mu.Unlock()
	if !known {
		return fmt.Errorf("pod %q not found", pod)
	}
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside the pod's network namespace: %w", port, err)
	}
	r.mu.Lock()
	r.open[conn] = pod
	r.opened[pod]++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, conn)
		r.mu.Unlock()
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

// count says how many connections there were and are to the pods whose names begin so.
func (r *runtime) count(prefix string) (opened, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pod, count := range r.opened {
		if strings.HasPrefix(pod, prefix) {
			opened += count
		}
	}
	for _, pod := range r.open {
		if strings.HasPrefix(pod, prefix) {
			open++
		}
	}
	return opened, open
}

// cut ends all connections to a pod and says how many there were.
func (r *runtime) cut(pod string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for conn, of := range r.open {
		if of == pod {
			conn.Close()
			count++
		}
	}
	return count
}

func (*runtime) Exec(context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("no exec here")
}

func (*runtime) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("no attach here")
}
