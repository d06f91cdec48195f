// Command certs makes a CA and certificates of it for tests with TLS: certs [FLAG]… DIR NAME…
//
// It writes ca.pem, server.pem and server-key.pem (for the DNS names given), client.pem and
// client-key.pem into DIR. They hold for a day; -from and -until say otherwise for the server's.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
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

// validity is relative to now.
type validity struct{ from, until time.Duration }

var aDay = validity{-time.Hour, 24 * time.Hour}

func issue(name string, names []string, use x509.ExtKeyUsage, valid validity, by *pair) (*pair, error) {
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
		NotBefore:    time.Now().Add(valid.from),
		NotAfter:     time.Now().Add(valid.until),
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

func run(dir string, names []string, server validity) error {
	ca, err := issue("flowwatch test CA", nil, 0, aDay, nil)
	if err != nil {
		return err
	}
	serverPair, err := issue(names[0], names, x509.ExtKeyUsageServerAuth, server, ca)
	if err != nil {
		return err
	}
	client, err := issue("flowwatch test client", nil, x509.ExtKeyUsageClientAuth, aDay, ca)
	if err != nil {
		return err
	}
	for name, p := range map[string]*pair{"ca": ca, "server": serverPair, "client": client} {
		if err := p.write(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	valid := aDay
	flag.DurationVar(&valid.from, "from", valid.from, "the server's certificate holds from `now+DURATION`")
	flag.DurationVar(&valid.until, "until", valid.until, "the server's certificate holds until `now+DURATION`")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "certs: give a folder and at least one DNS name")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Args()[1:], valid); err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}
