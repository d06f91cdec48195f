package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// tables writes Unicode as Go's regexp knows it: three kinds of lines.
//
//	category 0=Cc 20=Zs ...    from this code point on, all are of this category (- is none)
//	script 0=Common 41=Latin   likewise
//	alias Letter=L ...         other names of categories
//	fold 41=61 4b=6b,212a ...  what is equal where case doesn't count
func tables() []string {
	small := map[string]*unicode.RangeTable{}
	for name, table := range unicode.Categories {
		// The others are unions of these: L of Lu, Ll, Lt, Lm and Lo.
		if len(name) == 2 && name != "LC" && name != "Cn" {
			small[name] = table
		}
	}
	var aliases []string
	for _, name := range slices.Sorted(maps.Keys(unicode.CategoryAliases)) {
		aliases = append(aliases, name+"="+unicode.CategoryAliases[name])
	}
	return []string{
		"version " + unicode.Version,
		"category " + runs(small),
		"script " + runs(unicode.Scripts),
		"alias " + strings.Join(aliases, " "),
		"fold " + orbits(),
	}
}

func runs(tables map[string]*unicode.RangeTable) string {
	names := make([]string, unicode.MaxRune+1)
	for name, table := range tables {
		for _, part := range table.R16 {
			for code := int(part.Lo); code <= int(part.Hi); code += int(part.Stride) {
				names[code] = name
			}
		}
		for _, part := range table.R32 {
			for code := int(part.Lo); code <= int(part.Hi); code += int(part.Stride) {
				names[code] = name
			}
		}
	}
	var out []string
	last := "?"
	for code, name := range names {
		if name == "" {
			name = "-"
		}
		if name != last {
			out = append(out, fmt.Sprintf("%x=%s", code, name))
			last = name
		}
	}
	return strings.Join(out, " ")
}

func orbits() string {
	var out []string
	for code := rune(0); code <= unicode.MaxRune; code++ {
		var others []string
		for next := unicode.SimpleFold(code); next != code; next = unicode.SimpleFold(next) {
			if next < code {
				others = nil // told at its smallest member
				break
			}
			others = append(others, fmt.Sprintf("%x", next))
		}
		if others != nil {
			out = append(out, fmt.Sprintf("%x=%s", code, strings.Join(others, ",")))
		}
	}
	return strings.Join(out, " ")
}
