// Command kubeapi is as much of a Kubernetes API server as a port-forward to relay needs.
//
// Port-forwards are served by the code that container runtimes serve them with
// (k8s.io/cri-streaming), over SPDY and websocket, behind the proxy that API server and kubelet put
// before it (k8s.io/apimachinery/pkg/util/proxy). Objects are what the test puts; errors are the
// API server's own Status objects.
//
// It prints {"address":"…"} when it serves. Commands on standard input are JSON objects, one a
// line, each answered with a line: see commands.go. It ends when standard input does.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func tlsConfig(cert, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clientCA != "" {
		pem, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", clientCA)
		}
		// As the API server: who has none may still come with a token.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "TCP `address` to serve on; port 0 takes a free one")
	cert := flag.String("tls-cert", "", "PEM `file`: serve TLS with this certificate")
	key := flag.String("tls-key", "", "PEM `file`: its key")
	clientCA := flag.String("tls-client-ca", "", "PEM `file`: clients with a certificate of this CA need no token")
	flag.Parse()
	cluster, err := newCluster()
	if err != nil {
		return err
	}
	socket, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: cluster, ErrorLog: log.New(os.Stderr, "", 0)}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"address": socket.Addr().String()}); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		if *cert == "" {
			ended <- server.Serve(socket)
			return
		}
		config, err := tlsConfig(*cert, *key, *clientCA)
		if err != nil {
			ended <- err
			return
		}
		server.TLSConfig = config
		ended <- server.ServeTLS(socket, "", "")
	}()
	go func() { ended <- obey(cluster, os.Stdin, out) }()
	return <-ended
}

func obey(cluster *cluster, input io.Reader, out *json.Encoder) error {
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var command command
		var answer any
		err := json.Unmarshal(lines.Bytes(), &command)
		if err == nil {
			answer, err = cluster.obey(command)
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
	if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "kubeapi:", err)
		os.Exit(1)
	}
}
