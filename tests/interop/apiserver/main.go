// Command apiserver is a Kubernetes control plane for tests, in one process and on loopback:
// etcd, kube-apiserver with RBAC and service accounts, and a kubelet that forwards ports.
//
//	apiserver DIR
//
// It fills DIR, an empty folder that nobody else may read: etcd's data, audit.log, and in pki/ what
// pki.go says. When all serve it prints one line,
//
//	{"server":"127.0.0.1:PORT","kubelet":PORT}
//
// Commands on standard input are JSON objects, one a line, each answered with a line: see
// commands.go. It removes DIR and ends when standard input does, so that nothing is left of a test
// run that was killed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func run(dir string) error {
	made, err := makePKI(dir)
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	kubelet, err := startKubelet(made)
	if err != nil {
		return fmt.Errorf("starting the kubelet: %w", err)
	}
	if err := startEtcd(dir); err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	ended := make(chan error, 2)
	server, err := startServer(context.Background(), dir, made, ended)
	if err != nil {
		return fmt.Errorf("starting kube-apiserver: %w", err)
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{"server": server, "kubelet": kubelet.port}); err != nil {
		return err
	}
	go func() { ended <- obey(kubelet, os.Stdin, out) }()
	return <-ended
}

func obey(kubelet *kubelet, input io.Reader, out *json.Encoder) error {
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		var order command
		var answer any
		err := json.Unmarshal(lines.Bytes(), &order)
		if err == nil {
			answer, err = kubelet.obey(order)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "apiserver: give an empty folder")
		os.Exit(2)
	}
	err := run(os.Args[1])
	code := 0
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		code = 1
	}
	if err := os.RemoveAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
	}
	os.Exit(code)
}
