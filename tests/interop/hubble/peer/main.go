// Command peer is the Peer service that tells a relay which nodes there are, as an agent does.
//
// It prints {"address":"…"} when it serves. Commands on standard input change the nodes while
// relays listen: "add NAME ADDRESS [TLS-SERVER-NAME]" (also for a new address) and "remove NAME"; each is answered with
// {"nodes":N} or {"error":"…"}. It ends when standard input does.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	peerpb "github.com/cilium/cilium/api/v1/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

type service struct {
	mu        sync.Mutex
	peers     map[string]*peerpb.ChangeNotification
	listeners map[chan *peerpb.ChangeNotification]bool
}

func (s *service) Notify(_ *peerpb.NotifyRequest, stream peerpb.Peer_NotifyServer) error {
	changes := make(chan *peerpb.ChangeNotification, 1000)
	s.mu.Lock()
	for _, peer := range s.peers {
		changes <- peer
	}
	s.listeners[changes] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, changes)
		s.mu.Unlock()
	}()
	for {
		select {
		case change := <-changes:
			if err := stream.Send(change); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *service) tell(change *peerpb.ChangeNotification) {
	for listener := range s.listeners {
		listener <- change
	}
}

func (s *service) add(name, address, tlsServerName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	peer := &peerpb.ChangeNotification{Name: name, Address: address, Type: peerpb.ChangeNotificationType_PEER_ADDED}
	if tlsServerName != "" {
		peer.Tls = &peerpb.TLS{ServerName: tlsServerName}
	}
	if _, known := s.peers[name]; known {
		s.tell(&peerpb.ChangeNotification{
			Name: name, Address: address, Tls: peer.Tls, Type: peerpb.ChangeNotificationType_PEER_UPDATED,
		})
	} else {
		s.tell(peer)
	}
	s.peers[name] = peer
}

func (s *service) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	peer, known := s.peers[name]
	if !known {
		return fmt.Errorf("no node %q", name)
	}
	delete(s.peers, name)
	s.tell(&peerpb.ChangeNotification{
		Name: name, Address: peer.Address, Type: peerpb.ChangeNotificationType_PEER_DELETED,
	})
	return nil
}

func (s *service) command(words []string) error {
	switch {
	case (len(words) == 3 || len(words) == 4) && words[0] == "add":
		s.add(words[1], words[2], strings.Join(words[3:], ""))
		return nil
	case len(words) == 2 && words[0] == "remove":
		return s.remove(words[1])
	}
	return fmt.Errorf("not a command: %q", strings.Join(words, " "))
}

func run() error {
	s := &service{
		peers:     map[string]*peerpb.ChangeNotification{},
		listeners: map[chan *peerpb.ChangeNotification]bool{},
	}
	address := flag.String("listen", "127.0.0.1:0", "TCP `address` to serve on; port 0 takes a free one")
	flag.Func("node", "a node as `NAME=ADDRESS`; may be repeated", func(v string) error {
		name, address, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=ADDRESS", v)
		}
		s.add(name, address, "")
		return nil
	})
	cert := flag.String("tls-cert", "", "PEM `file`: serve TLS with this certificate (for hubble-peer.CLUSTER.hubble-grpc.cilium.io)")
	key := flag.String("tls-key", "", "PEM `file`: its key")
	flag.Parse()
	var options []grpc.ServerOption
	if *cert != "" {
		tls, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(tls))
	}
	socket, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(options...)
	peerpb.RegisterPeerServer(srv, s)
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"address": socket.Addr().String()}); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(socket) }()
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			answer := map[string]any{}
			if err := s.command(strings.Fields(lines.Text())); err != nil {
				answer["error"] = err.Error()
			} else {
				answer["nodes"] = len(s.peers)
			}
			if err := out.Encode(answer); err != nil {
				ended <- err
				return
			}
		}
		ended <- lines.Err()
	}()
	return <-ended
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
