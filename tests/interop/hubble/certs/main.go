// Command certs makes a CA and certificates of it for tests with TLS: certs DIR NAME…
//
// It writes ca.pem, server.pem and server-key.pem (for the DNS names given), client.pem and
// client-key.pem into DIR. They hold for a day.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(name string, names []string, use x509.ExtKeyUsage, by *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	want := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if by == nil {
		want.IsCA, want.BasicConstraintsValid = true, true
		want.KeyUsage = x509.KeyUsageCertSign
		by = &pair{want, key}
	} else {
		want.ExtKeyUsage = []x509.ExtKeyUsage{use}
	}
	der, err := x509.CreateCertificate(rand.Reader, want, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &pair{cert, key}, err
}

func (p *pair) write(dir, name string) error {
	der, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
	if err := os.WriteFile(filepath.Join(dir, name+".pem"), cert, 0o600); err != nil {
		return err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return os.WriteFile(filepath.Join(dir, name+"-key.pem"), key, 0o600)
}

func run(dir string, names []string) error {
	ca, err := issue("flowwatch test CA", nil, 0, nil)
	if err != nil {
		return err
	}
	server, err := issue(names[0], names, x509.ExtKeyUsageServerAuth, ca)
	if err != nil {
		return err
	}
	client, err := issue("flowwatch test client", nil, x509.ExtKeyUsageClientAuth, ca)
	if err != nil {
		return err
	}
	for name, p := range map[string]*pair{"ca": ca, "server": server, "client": client} {
		if err := p.write(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "certs: give a folder and at least one DNS name")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}
