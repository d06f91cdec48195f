package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"time"

	"flowwatch.test/interop/internal/capture"
)

// fromStdin writes one record per line; an empty line is answered when all before it can be read.
func fromStdin(feed *feeder, out *json.Encoder) error {
	written := 0
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		ended := err == io.EOF
		if err != nil && !ended {
			return err
		}
		line = bytes.TrimSpace(line)
		switch {
		case len(line) > 0:
			ev, err := capture.Record(line, time.Now())
			if err != nil {
				if err := out.Encode(map[string]string{"error": err.Error()}); err != nil {
					return err
				}
				break
			}
			feed.write(ev)
			written++
		case !ended:
			feed.flush()
			if err := out.Encode(map[string]int{"written": written}); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}
