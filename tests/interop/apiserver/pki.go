package main

import (
	"crypto"
	"crypto/x509"
	"net"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"
	kubeadmapi "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/pkiutil"
)

// pki is a folder of certificates and keys, made as kubeadm makes a cluster's: NAME.crt and NAME.key.
type pki struct{ dir string }

func (p pki) crt(name string) string { return filepath.Join(p.dir, name+".crt") }
func (p pki) key(name string) string { return filepath.Join(p.dir, name+".key") }

// serverName is what certificates of the API server are for; they have no address in them, so
// clients say tls-server-name.
const serverName = "kubernetes.default.svc"

// pairs are what the CA vouches for.
var pairs = []struct {
	file string
	certutil.Config
}{
	{"server", certutil.Config{
		CommonName: "kube-apiserver",
		AltNames:   certutil.AltNames{DNSNames: []string{serverName}},
		Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}},
	// May do everything.
	{"admin", client("kubernetes-admin", "system:masters")},
	// May do nothing, until a test gives her a role.
	{"jane", client("jane")},
	{"kubelet-client", client("kube-apiserver-kubelet-client")},
	{"kubelet", certutil.Config{
		CommonName: "kubelet",
		AltNames:   certutil.AltNames{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}},
		Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}},
}

func client(name string, groups ...string) certutil.Config {
	return certutil.Config{
		CommonName:   name,
		Organization: groups,
		Usages:       []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// makePKI writes ca.crt, the pairs, and sa.key, which signs service accounts' tokens.
func makePKI(dir string) (pki, error) {
	made := pki{filepath.Join(dir, "pki")}
	const algorithm = kubeadmapi.EncryptionAlgorithmECDSAP256
	ca, caKey, err := pkiutil.NewCertificateAuthority(&pkiutil.CertConfig{
		Config: certutil.Config{CommonName: "flowwatch test CA"}, EncryptionAlgorithm: algorithm,
	})
	if err != nil {
		return made, err
	}
	if err := pkiutil.WriteCert(made.dir, "ca", ca); err != nil {
		return made, err
	}
	for _, pair := range pairs {
		config := &pkiutil.CertConfig{Config: pair.Config, EncryptionAlgorithm: algorithm}
		cert, key, err := pkiutil.NewCertAndKey(ca, caKey, config)
		if err != nil {
			return made, err
		}
		if err := pkiutil.WriteCertAndKey(made.dir, pair.file, cert, key); err != nil {
			return made, err
		}
	}
	var signer crypto.Signer
	if signer, err = pkiutil.GeneratePrivateKey(algorithm); err != nil {
		return made, err
	}
	return made, pkiutil.WriteKey(made.dir, "sa", signer)
}
