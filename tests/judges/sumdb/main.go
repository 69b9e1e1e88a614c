// Judges what chain-of-custody writes with Go's own transparency log code (golang.org/x/mod/sumdb), which none of
// us wrote. Debian: golang-go, golang-golang-x-mod-dev. Build:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o sumdb .
//
// It prints "ok" and exits 0, or "fails: <why>" and exits 1.
//
//	sumdb note NOTE VKEY                    note.Open accepts the note
//	sumdb cosigned NOTE VKEY WITNESS-VKEY   the log and the log witness both signed the checkpoint
//	sumdb proof FILE.tlog-proof VKEY ENTRY  the entry in the file ENTRY is under the signed checkpoint
//	sumdb consistency OLD NEW VKEY PROOF    checkpoint NEW extends OLD (PROOF: one base64 hash per line)
//	sumdb tree DIR VKEY                     DIR/checkpoint, DIR/tile/...: every entry is under the signed root
//	sumdb new-tiles SIZES                   prints the tiles of hashes for each "old new" line of the file SIZES
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The tile height of C2SP tlog-tiles.
const height = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("fails:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "note":
		_, err := open(read(args[1]), args[2])
		return err
	case len(args) == 4 && args[0] == "cosigned":
		return checkCosigned(read(args[1]), args[2], args[3])
	case len(args) == 4 && args[0] == "proof":
		return checkProof(string(read(args[1])), args[2], read(args[3]))
	case len(args) == 5 && args[0] == "consistency":
		return checkConsistency(read(args[1]), read(args[2]), args[3], string(read(args[4])))
	case len(args) == 3 && args[0] == "tree":
		return checkTree(args[1], args[2])
	case len(args) == 2 && args[0] == "new-tiles":
		return printNewTiles(string(read(args[1])))
	}
	return fmt.Errorf("unknown arguments %q", args)
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Println("fails:", err)
		os.Exit(1)
	}
	return data
}

func open(msg []byte, vkey string) (*note.Note, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	return note.Open(msg, note.VerifierList(verifier))
}

// openCheckpoint reads the tree of a signed checkpoint. (tlog.ParseTree knows only the Go sum database's origin.)
func openCheckpoint(msg []byte, vkey string) (tlog.Tree, error) {
	n, err := open(msg, vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != n.Sigs[0].Name {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of its signer")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func checkProof(file, vkey string, entry []byte) error {
	i := strings.Index(file, "\n\n")
	if i < 0 {
		return fmt.Errorf("no checkpoint in the proof file")
	}
	tree, err := openCheckpoint([]byte(file[i+2:]), vkey)
	if err != nil {
		return err
	}
	lines := strings.Split(file[:i], "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a proof file")
	}
	lines = lines[1:]
	if strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return err
	}
	proof, err := parseHashes(lines[1:])
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func checkConsistency(old, new []byte, vkey, proof string) error {
	oldTree, err := openCheckpoint(old, vkey)
	if err != nil {
		return err
	}
	newTree, err := openCheckpoint(new, vkey)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(strings.Split(strings.TrimSuffix(proof, "\n"), "\n"))
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, newTree.N, newTree.Hash, oldTree.N, oldTree.Hash)
}

func parseHashes(lines []string) (hashes []tlog.Hash, err error) {
	for _, line := range lines {
		if line == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, fmt.Errorf("bad hash line")
		}
		var hash tlog.Hash
		copy(hash[:], raw)
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// files reads tiles as C2SP names them: without the height that sumdb writes into the path.
type files struct{ dir string }

func c2spPath(t tlog.Tile) string {
	return strings.Replace(t.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func (f files) Height() int                          { return height }
func (f files) SaveTiles(tiles []tlog.Tile, _ [][]byte) {}

func (f files) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		bytes, err := os.ReadFile(filepath.Join(f.dir, c2spPath(t)))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func checkTree(dir, vkey string) error {
	tree, err := openCheckpoint(read(filepath.Join(dir, "checkpoint")), vkey)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, files{dir})
	entries, err := readEntries(dir, tree.N)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(i), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("entry %d: %v", i, err)
		}
	}
	return nil
}

// readEntries reads all entry bundles of a tree of n entries.
func readEntries(dir string, n int64) (entries [][]byte, err error) {
	for start := int64(0); start < n; start += 1 << height {
		width := n - start
		if width > 1<<height {
			width = 1 << height
		}
		t := tlog.Tile{H: height, L: -1, N: start >> height, W: int(width)}
		path := strings.Replace(c2spPath(t), "tile/data/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for len(bundle) > 0 {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("bad bundle %s", path)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	if int64(len(entries)) != n {
		return nil, fmt.Errorf("%d entries in the bundles, %d in the checkpoint", len(entries), n)
	}
	return entries, nil
}

func printNewTiles(sizes string) error {
	for _, line := range strings.Split(strings.TrimSuffix(sizes, "\n"), "\n") {
		var old, new int64
		if _, err := fmt.Sscanf(line, "%d %d", &old, &new); err != nil {
			return err
		}
		var paths []string
		for _, t := range tlog.NewTiles(height, old, new) {
			paths = append(paths, c2spPath(t))
		}
		fmt.Println(line+":", strings.Join(paths, " "))
	}
	return nil
}
