package main

import "fmt"

// command is one line of standard input; what it does is said at its name.
type command struct {
	Do  string `json:"do"`
	Pod string `json:"pod"` // NAMESPACE/NAME
	To  string `json:"to"`
}

func (k *kubelet) obey(order command) (any, error) {
	r := k.runtime
	switch order.Do {
	case "forward": // let a pod's ports lead to an address; an empty one ends that
		r.mu.Lock()
		defer r.mu.Unlock()
		if order.To == "" {
			delete(r.targets, order.Pod)
		} else {
			r.targets[order.Pod] = order.To
		}
		return map[string]any{}, nil
	case "cut": // end the forwards to a pod
		return map[string]int{"cut": r.cut(order.Pod)}, nil
	case "told": // the forwards to pods that begin so: opened in all, and open now
		opened, open := r.count(order.Pod)
		return map[string]int{"opened": opened, "open": open}, nil
	default:
		return nil, fmt.Errorf("not a command: %q", order.Do)
	}
}
