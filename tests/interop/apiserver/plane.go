package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

const startSeconds = 60

// unix is a socket in a folder that only this user may enter: nobody else reaches etcd.
func unix(dir, name string) url.URL {
	return url.URL{Scheme: "unix", Path: filepath.Join(dir, name)}
}

func startEtcd(dir string) error {
	config := embed.NewConfig()
	config.Dir = filepath.Join(dir, "etcd")
	clients, peers := unix(dir, "etcd.sock"), unix(dir, "peer.sock")
	config.ListenClientUrls, config.ListenPeerUrls = []url.URL{clients}, []url.URL{peers}
	config.UnsafeNoFsync = true // nobody needs it after the test
	config.LogLevel = "error"
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return err
	case <-time.After(startSeconds * time.Second):
		return fmt.Errorf("not ready within %d s", startSeconds)
	}
}

// Every request that arrives is one line of audit.log, before it is authorized; with the user's
// name. Those of the API server to itself are left out.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
  - level: None
    users: ["system:apiserver", "kubernetes-admin"]
  - level: Metadata
`

func arguments(dir string, made pki) []string {
	etcd := unix(dir, "etcd.sock")
	return []string{
		"--etcd-servers=" + etcd.String(),
		"--authorization-mode=RBAC",
		"--client-ca-file=" + made.crt("ca"),
		"--tls-cert-file=" + made.crt("server"),
		"--tls-private-key-file=" + made.key("server"),
		"--kubelet-certificate-authority=" + made.crt("ca"),
		"--kubelet-client-certificate=" + made.crt("kubelet-client"),
		"--kubelet-client-key=" + made.key("kubelet-client"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://" + serverName,
		"--service-account-key-file=" + made.key("sa"),
		"--service-account-signing-key-file=" + made.key("sa"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--bind-address=127.0.0.1",
		// Of TEST-NET, told to nobody: without it the machine's own address is looked for.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
		// Its controller would have to make an account for each namespace, and doesn't run here.
		"--disable-admission-plugins=ServiceAccount",
		"--audit-policy-file=" + filepath.Join(dir, "audit-policy.yaml"),
		"--audit-log-path=" + filepath.Join(dir, "audit.log"),
		"--profiling=false",
	}
}

// startServer starts kube-apiserver and waits until it is ready; it returns its address. When the
// server ends, `ended` is told.
func startServer(ctx context.Context, dir string, made pki, ended chan<- error) (string, error) {
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return "", err
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	wanted := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range wanted.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(arguments(dir, made)); err != nil {
		return "", err
	}
	// A port of its own choice, which no flag can say.
	wanted.SecureServing.Listener = socket
	wanted.SecureServing.BindPort = socket.Addr().(*net.TCPAddr).Port
	// A token of a deleted account is refused at once, not ten seconds later.
	wanted.Authentication.TokenSuccessCacheTTL = 0
	if err := wanted.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return "", err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := wanted.Complete(ctx)
	if err != nil {
		return "", err
	}
	if faults := completed.Validate(); len(faults) != 0 {
		return "", errors.Join(faults...)
	}
	failed := make(chan error, 1)
	go func() {
		err := app.Run(ctx, completed)
		failed <- err
		ended <- err
	}()
	return socket.Addr().String(), untilReady(socket.Addr().String(), made, failed)
}

func untilReady(address string, made pki, failed <-chan error) error {
	client, err := adminClient(made)
	if err != nil {
		return err
	}
	last := errors.New("no answer")
	for begin := time.Now(); time.Since(begin) < startSeconds*time.Second; {
		select {
		case err := <-failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
		answer, err := client.Get("https://" + address + "/readyz")
		if err != nil {
			last = err
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("/readyz says %s", answer.Status)
	}
	return fmt.Errorf("not ready within %d s: %w", startSeconds, last)
}

func adminClient(made pki) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(made.crt("admin"), made.key("admin"))
	if err != nil {
		return nil, err
	}
	roots, err := pool(made)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: serverName}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 5 * time.Second}, nil
}

func pool(made pki) (*x509.CertPool, error) {
	pem, err := os.ReadFile(made.crt("ca"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	return roots, nil
}
