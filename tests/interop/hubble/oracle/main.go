// Command oracle answers policy questions with Cilium's own policy engine (pkg/policy).
//
// It reads a request a line from standard input and writes an answer a line:
//
//	{"documents": "<YAML>", "questions": [{"id", "direction", "subject", "peer", "protocol", "port"}, ...]}
//	{"rejected": [{"index", "name", "error"}], "unknown": [...], "answers": [{"id", "verdict", "l7", "selected", "policies", "places"}]}
//
// A party is {"labels": [...], "ip", "also": [...], "fqdn", "ports": {name: number}}: an identity by its
// labels, or an outside address with the DNS name it was learnt by. An identity's addresses ("also" has
// its others) and name matter only where policy-cidr-match-mode lets blocks mean it. Nothing is answered while there are unknown fields.
// The verdict is "allowed", "denied", or "fails" where Cilium can't make a policy of the subject's rules.
// A request may have "options": entries of the ConfigMap cilium-config, as an agent reads them from there
// (policy-cidr-match-mode, enable-policy); without any they are the defaults. {"settings": {...}} is
// answered with what an agent makes of such entries, or with the error that keeps it from starting.
// A request that can't be read gets {"error": "..."}. {"yaml": "<YAML>"} is answered with
// {"json": ["<JSON>", ...]}, a string for each document.
//
// With -bench K the first request's questions are answered K times, and the rates go to standard output:
// with each subject's policy computed in every round, and with all of them there.
//
// The settings are a Kubernetes agent's: dual stack, cluster "default", host firewall on, the
// local host always allowed, L7 proxy on, node selector labels off.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy/api"
)

const (
	clusterName = "default"
	longestLine = 256 << 20
)

type party struct {
	Labels []string          `json:"labels"`
	IP     string            `json:"ip"`
	Also   []string          `json:"also"`
	FQDN   string            `json:"fqdn"`
	Ports  map[string]uint16 `json:"ports"`
}

type question struct {
	ID        any    `json:"id"`
	Direction string `json:"direction"`
	Subject   party  `json:"subject"`
	Peer      party  `json:"peer"`
	Protocol  string `json:"protocol"`
	Port      uint16 `json:"port"`
}

type request struct {
	Documents string            `json:"documents"`
	YAML      *string           `json:"yaml"`
	Questions []question        `json:"questions"`
	Options   map[string]string `json:"options"`
	Settings  map[string]string `json:"settings"`
}

type converted struct {
	JSON  []string `json:"json"`
	Error string   `json:"error,omitempty"`
}

type rejection struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Error string `json:"error"`
}

type answer struct {
	ID       any      `json:"id"`
	Verdict  string   `json:"verdict"`
	L7       bool     `json:"l7"`
	Selected bool     `json:"selected"`
	Policies []string `json:"policies"`
	Places   []string `json:"places"`
}

type response struct {
	Rejected []rejection `json:"rejected"`
	Unknown  []string    `json:"unknown"`
	Answers  []answer    `json:"answers"`
	Error    string      `json:"error,omitempty"`
}

func main() {
	times := flag.Int("bench", 0, "answer the first request's questions this often and print the rate")
	flag.Parse()
	configure()
	// What Cilium logs about a policy comes back in the answers.
	logger := slog.New(slog.DiscardHandler)

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, "oracle: bad request:", err)
			os.Exit(2)
		}
		if *times > 0 {
			bench(logger, asked, *times)
			return
		}
		var answered any
		switch {
		case asked.YAML != nil:
			answered = convert(*asked.YAML)
		case asked.Settings != nil:
			answered = settings(asked.Settings)
		default:
			answered = respond(logger, asked)
		}
		if err := encoder.Encode(answered); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(1)
		}
		// The asker waits for each answer.
		if err := out.Flush(); err != nil {
			os.Exit(1)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func configure() {
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = true
	option.Config.ClusterName = clusterName
	option.Config.EnableL7Proxy = true
	option.Config.EnableICMPRules = true
	option.Config.EnableNonDefaultDenyPolicies = true
	option.Config.EnableHostFirewall = true
	option.Config.EnableK8sClusterNetworkPolicy = true
	option.Config.UnsafeDaemonConfigOption.AllowLocalhost = option.AllowLocalhostAlways
	api.InitEntities(clusterName)
}

func respond(logger *slog.Logger, asked request) response {
	out := response{Rejected: []rejection{}, Unknown: []string{}, Answers: []answer{}}
	if err := choose(asked.Options); err != nil {
		out.Error = err.Error()
		return out
	}
	set, err := read(logger, asked.Documents)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Rejected = append(out.Rejected, set.rejected...)
	out.Unknown = append(out.Unknown, set.unknown...)
	if len(out.Unknown) > 0 {
		return out
	}
	err = guarded(func() error {
		engines, err := newEngines(logger, set, asked.Questions)
		if err != nil {
			return err
		}
		for _, each := range asked.Questions {
			decided, err := engines.decide(each)
			if err != nil {
				return fmt.Errorf("question %v: %w", each.ID, err)
			}
			out.Answers = append(out.Answers, decided)
		}
		return nil
	})
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func convert(text string) converted {
	out := converted{JSON: []string{}}
	err := eachDocument(text, func(document []byte) error {
		out.JSON = append(out.JSON, string(document))
		return nil
	})
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func bench(logger *slog.Logger, asked request, times int) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
	if err := choose(asked.Options); err != nil {
		fail(err)
	}
	began := time.Now()
	set, err := read(logger, asked.Documents)
	if err != nil {
		fail(err)
	}
	engines, err := newEngines(logger, set, asked.Questions)
	if err != nil {
		fail(err)
	}
	loaded := time.Since(began)
	round := func() {
		for _, each := range asked.Questions {
			if _, err := engines.decide(each); err != nil {
				fail(err)
			}
		}
	}
	began = time.Now()
	for range times {
		engines.forget()
		round()
	}
	answering := time.Since(began)
	began = time.Now()
	for range times {
		round()
	}
	looking := time.Since(began)
	answers := times * len(asked.Questions)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"documents":          set.count,
		"answers":            answers,
		"load_seconds":       loaded.Seconds(),
		"answer_seconds":     answering.Seconds(),
		"answers_per_second": float64(answers) / answering.Seconds(),
		"lookups_per_second": float64(answers) / looking.Seconds(),
	})
}
