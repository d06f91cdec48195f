package main

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// names are those learnt from answers to the pod, for as long as they are valid: their TTL, and while a
// connection to the address lives (pkg/fqdn: zombies).
type names struct {
	mutex sync.RWMutex
	known map[netip.Addr]map[string]time.Time
}

func newNames() *names { return &names{known: map[netip.Addr]map[string]time.Time{}} }

// learn tells whether a name is new to its address.
func (n *names) learn(name string, address netip.Addr, ttl time.Duration) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.known[address] == nil {
		n.known[address] = map[string]time.Time{}
	}
	until, had := n.known[address][name]
	if end := time.Now().Add(ttl); end.After(until) {
		n.known[address][name] = end
	}
	return !had
}

// expire forgets what is over, and tells whether anything was.
func (n *names) expire(alive func(netip.Addr) bool) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	changed := false
	for address, all := range n.known {
		for name, until := range all {
			if time.Now().After(until) && !alive(address) {
				delete(all, name)
				changed = true
			}
		}
		if len(all) == 0 {
			delete(n.known, address)
		}
	}
	return changed
}

func (n *names) of(address netip.Addr) []string {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	var all []string
	for name := range n.known[address] {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (n *names) addresses() []netip.Addr {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	var all []netip.Addr
	for address := range n.known {
		all = append(all, address)
	}
	return all
}
