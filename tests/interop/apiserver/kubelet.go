package main

import (
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"

	"k8s.io/apimachinery/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

// kubelet is as much of a kubelet as a port-forward needs: it hands requests of the API server,
// and of nobody else, to the container runtime's streaming server.
type kubelet struct {
	port    int
	runtime *runtime
	server  streaming.Server
}

func startKubelet(made pki) (*kubelet, error) {
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &kubelet{runtime: newRuntime()}
	config := streaming.DefaultConfig
	config.Addr = streams.Addr().String()
	config.BaseURL = &url.URL{Scheme: "http", Host: config.Addr, Path: "/"}
	if k.server, err = streaming.NewServer(config, k.runtime); err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(streams, k.server) }()

	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k.port = socket.Addr().(*net.TCPAddr).Port
	secure, err := onlyOwnClients(made)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	server := &http.Server{Handler: mux, TLSConfig: secure, ErrorLog: log.New(os.Stderr, "kubelet: ", 0)}
	go func() { _ = server.ServeTLS(socket, "", "") }()
	return k, nil
}

func onlyOwnClients(made pki) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(made.crt("kubelet"), made.key("kubelet"))
	if err != nil {
		return nil, err
	}
	clients, err := pool(made)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    clients,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"http/1.1"}, // what upgrades need
	}, nil
}

// portForward does as pkg/kubelet/server (getPortForward).
func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod := r.PathValue("namespace") + "/" + r.PathValue("pod")
	answer, err := k.server.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: pod, Port: options.Ports})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	location, err := url.Parse(answer.Url)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	proxy.NewUpgradeAwareHandler(location, nil, false, true, responder{}).ServeHTTP(w, r)
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
