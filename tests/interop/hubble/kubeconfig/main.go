// Command kubeconfig answers what client-go (and so kubectl) reads from kubeconfigs.
//
// It reads a question a line from standard input and writes an answer a line:
//
//	{"paths": ["config"], "context": ""}
//	{"refusal": "..."} or {"server", "token", "exec", ...}
//
// No plugin is run and nothing is connected to.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const longestLine = 64 << 20

type question struct {
	Paths   []string `json:"paths"`
	Context string   `json:"context"`
}

type plugin struct {
	Command    string            `json:"command"`
	Args       []string          `json:"args"`
	Env        map[string]string `json:"env"`
	APIVersion string            `json:"apiVersion"`
}

type answer struct {
	Refusal     string              `json:"refusal,omitempty"`
	Server      string              `json:"server"`
	ServerName  string              `json:"serverName"`
	Insecure    bool                `json:"insecure"`
	CA          []byte              `json:"ca"`
	Certificate []byte              `json:"certificate"`
	Key         []byte              `json:"key"`
	Token       string              `json:"token"`
	Username    string              `json:"username"`
	Password    string              `json:"password"`
	User        string              `json:"user"`
	UID         string              `json:"uid"`
	Groups      []string            `json:"groups"`
	Extra       map[string][]string `json:"extra"`
	Proxy       bool                `json:"proxy"`
	Exec        *plugin             `json:"exec"`
	Provider    bool                `json:"provider"`
}

func read(asked question) (*answer, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: asked.Paths}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: asked.Context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	// Files are read, as before a connection.
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	found := &answer{
		Server:      config.Host,
		ServerName:  config.ServerName,
		Insecure:    config.Insecure,
		CA:          config.CAData,
		Certificate: config.CertData,
		Key:         config.KeyData,
		Token:       config.BearerToken,
		Username:    config.Username,
		Password:    config.Password,
		User:        config.Impersonate.UserName,
		UID:         config.Impersonate.UID,
		Groups:      config.Impersonate.Groups,
		Extra:       config.Impersonate.Extra,
		Proxy:       config.Proxy != nil,
		Provider:    config.AuthProvider != nil,
	}
	if exec := config.ExecProvider; exec != nil {
		env := map[string]string{}
		for _, each := range exec.Env {
			env[each.Name] = each.Value
		}
		found.Exec = &plugin{Command: exec.Command, Args: exec.Args, Env: env, APIVersion: exec.APIVersion}
	}
	return found, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		found, err := read(asked)
		if err != nil {
			found = &answer{Refusal: err.Error()}
		}
		if err := out.Encode(found); err != nil {
			log.Fatal(err)
		}
	}
}
