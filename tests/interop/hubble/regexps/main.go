// Command regexps says what Go's regexp, and what Cilium makes of it, find in texts.
//
// It reads a request a line from standard input and writes an answer a line:
//
//	{"pattern": "a+", "texts": ["xa", ...]}      {"found": [true, ...], "whole": [false, ...]}
//	{"name": "x.io", "texts": [...]}             a toFQDNs matchName: {"found": [...]}
//	{"stars": "*.x.io", "texts": [...]}          a toFQDNs matchPattern, likewise
//	{"fqdns": ["*.x.io", ...], "texts": [...]}   Hubble's filter on DNS names, likewise
//	{"nodes": ["k8s/*", ...], "texts": [...]}    Hubble's filter on node names, likewise
//	{"request": {"scheme", "host", "path"}}      what a record says of it: {"url": "http://..."}
//	{"headers": ["X-A: b", ...]}                 what Cilium has Envoy match: {"lines": ["X-A=b", "X-B"]}
//	{"unicode": true}                            Go's tables: {"lines": [...]}
//
// "found" is whether there is a match anywhere, "whole" whether all of the text is one. What is refused
// gets {"error": "..."}, with Go's or Cilium's words.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/filters"
	"github.com/cilium/cilium/pkg/policy/api"
)

const longestLine = 64 << 20

type request struct {
	Pattern *string  `json:"pattern"`
	Name    string   `json:"name"`
	Stars   string   `json:"stars"`
	FQDNs   []string `json:"fqdns"`
	Nodes   []string `json:"nodes"`
	Headers []string `json:"headers"`
	Unicode bool     `json:"unicode"`
	Request *struct {
		Scheme string `json:"scheme"`
		Host   string `json:"host"`
		Path   string `json:"path"`
	} `json:"request"`
	Texts []string `json:"texts"`
}

type answer struct {
	Found []bool   `json:"found,omitempty"`
	Whole []bool   `json:"whole,omitempty"`
	URL   string   `json:"url,omitempty"`
	Lines []string `json:"lines,omitempty"`
	Error string   `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, "regexps: bad request:", err)
			os.Exit(2)
		}
		given, err := respond(asked)
		if err != nil {
			given = answer{Error: err.Error()}
		}
		if err := encoder.Encode(given); err != nil {
			fmt.Fprintln(os.Stderr, "regexps:", err)
			os.Exit(1)
		}
		// The asker waits for each answer.
		if err := out.Flush(); err != nil {
			os.Exit(1)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "regexps:", err)
		os.Exit(1)
	}
}

func respond(asked request) (answer, error) {
	switch {
	case asked.Pattern != nil:
		return expression(*asked.Pattern, asked.Texts)
	case asked.Name != "" || asked.Stars != "":
		return selector(asked.Name, asked.Stars, asked.Texts)
	case asked.FQDNs != nil:
		return filtered(&filters.FQDNFilter{}, &flowpb.FlowFilter{DestinationFqdn: asked.FQDNs}, asked.Texts)
	case asked.Nodes != nil:
		return filtered(&filters.NodeNameFilter{}, &flowpb.FlowFilter{NodeName: asked.Nodes}, asked.Texts)
	case asked.Request != nil:
		return answer{URL: recorded(asked.Request.Scheme, asked.Request.Host, asked.Request.Path)}, nil
	case asked.Headers != nil:
		return answer{Lines: matchers(asked.Headers)}, nil
	case asked.Unicode:
		return answer{Lines: tables()}, nil
	}
	return answer{}, fmt.Errorf("nothing was asked")
}

// recorded is the URL of a request in the records: ParseURL of Cilium 1.20, pkg/envoy/accesslog.go (that package
// would need modules that nothing else here does), and what Hubble's parser makes of it.
func recorded(scheme, host, path string) string {
	parsed, err := url.Parse(fmt.Sprintf("%s://%s/%s", scheme, host, strings.TrimPrefix(path, "/")))
	if err != nil {
		parsed = &url.URL{Scheme: scheme, Host: host, Path: path}
	}
	return parsed.String()
}

// matchers are those of a rule's headers, by name: `name=value`, or a name that must be there.
func matchers(headers []string) []string {
	translator := envoypolicy.NewEnvoyL7RulesTranslator(slog.New(slog.DiscardHandler), nil)
	rules := &api.L7Rules{HTTP: []api.PortRuleHTTP{{Headers: headers}}}
	translated, _ := translator.GetEnvoyHTTPRules(rules, "")
	lines := []string{}
	for _, matcher := range translated.HttpRules[0].Headers {
		line := matcher.Name
		if !matcher.GetPresentMatch() {
			line += "=" + matcher.GetStringMatch().GetExact()
		}
		lines = append(lines, line)
	}
	return lines
}

func each(texts []string, test func(string) bool) []bool {
	found := make([]bool, len(texts))
	for at, text := range texts {
		found[at] = test(text)
	}
	return found
}

func expression(pattern string, texts []string) (answer, error) {
	anywhere, err := regexp.Compile(pattern)
	if err != nil {
		return answer{}, err
	}
	longest := regexp.MustCompile(pattern)
	longest.Longest()
	// As Envoy asks. A match of the whole text is the leftmost, and then the longest.
	whole := func(text string) bool {
		found := longest.FindStringIndex(text)
		return found != nil && found[0] == 0 && found[1] == len(text)
	}
	return answer{Found: each(texts, anywhere.MatchString), Whole: each(texts, whole)}, nil
}

func selector(name, stars string, texts []string) (answer, error) {
	rule := api.PortRuleDNS{MatchName: name, MatchPattern: stars}
	if err := rule.Sanitize(); err != nil {
		return answer{}, err
	}
	asked := api.FQDNSelector(rule)
	regex, err := asked.ToRegex()
	if err != nil {
		return answer{}, err
	}
	return answer{Found: each(texts, regex.MatchString)}, nil
}

func filtered(build filters.OnBuildFilter, filter *flowpb.FlowFilter, texts []string) (answer, error) {
	tests, err := build.OnBuildFilter(context.Background(), filter)
	if err != nil {
		return answer{}, err
	}
	return answer{Found: each(texts, func(text string) bool {
		// Either filter looks at one of these alone.
		flow := &flowpb.Flow{DestinationNames: []string{text}, NodeName: text}
		for _, test := range tests {
			if !test(&v1.Event{Event: flow}) {
				return false
			}
		}
		return true
	})}, nil
}
