// Checks logs that Weir wrote, by Go's implementation of transparency logs (golang.org/x/mod/sumdb)
// and by nothing of Weir's: whatever is wrong is a message and an exit code other than 0.
//
//	check log DIR      the log in DIR/log is whole, and goes on from DIR/earlier
//	check altered DIR  each alteration of it on standard input is refused
//	check proof DIR    DIR/proof proves that DIR/entry is in a log
//	check stored DIR   DIR is a log as Weir stores it: with its key, and every checkpoint that it had
//
// DIR/keys has the public keys: that of the log, and that of its witness. What x/mod does not know,
// cosignatures and proof files, is implemented here from their specifications.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A full tile has 2^8 hashes.
const height = 8

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: check log|altered|proof|stored DIR"))
	}
	said, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	fmt.Println(said)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "check:", err)
	os.Exit(1)
}

func run(what, dir string) (string, error) {
	if what == "stored" {
		return checkStored(dir)
	}
	k, err := readKeys(filepath.Join(dir, "keys"))
	if err != nil {
		return "", err
	}
	if what == "proof" {
		return checkProof(k, dir)
	}
	files, err := readFiles(dir)
	if err != nil {
		return "", err
	}
	size, err := checkLog(k, files)
	if err != nil {
		return "", err
	}
	switch what {
	case "log":
		return fmt.Sprintf("%d leaves in %d files", size, len(files)-2), nil
	case "altered":
		return refuseAll(k, files)
	}
	return "", fmt.Errorf("%s is not known", what)
}

// ---- keys

// Whose signatures a checkpoint must have, in this order.
type keys struct {
	log, witness note.Verifier
}

func (k *keys) all() []note.Verifier {
	if k.witness == nil {
		return []note.Verifier{k.log}
	}
	return []note.Verifier{k.log, k.witness}
}

func readKeys(file string) (*keys, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		return nil, fmt.Errorf("%s: %d keys, not 2", file, len(lines))
	}
	log, err := note.NewVerifier(lines[0])
	if err != nil {
		return nil, fmt.Errorf("the log's key: %v", err)
	}
	witness, err := newCosigner(lines[1])
	if err != nil {
		return nil, fmt.Errorf("the witness's key: %v", err)
	}
	return &keys{log, witness}, nil
}

// A witness: c2sp.org/tlog-cosignature, with Ed25519.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("no vkey")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("no key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	id := binary.BigEndian.Uint32(sum[:4])
	if fmt.Sprintf("%08x", id) != parts[1] {
		return nil, fmt.Errorf("the id should be %08x", id)
	}
	return &cosigner{parts[0], id, key[1:]}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.id }
func (c *cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return time < 1<<63 && ed25519.Verify(c.key, []byte(message), sig[8:])
}

// ---- checkpoints

// Opens a checkpoint that the log, and its witness if it has one, must have signed, and nobody else. x/mod reads
// base64 more leniently than it is written, so it is held against its one spelling here.
func openCheckpoint(k *keys, b []byte) (tlog.Tree, error) {
	var none tlog.Tree
	want := k.all()
	n, err := note.Open(b, note.VerifierList(want...))
	if err != nil {
		return none, err
	}
	if len(n.Sigs) != len(want) || len(n.UnverifiedSigs) != 0 {
		return none, fmt.Errorf("%d signatures by known keys, %d by others", len(n.Sigs), len(n.UnverifiedSigs))
	}
	for i, v := range want {
		if n.Sigs[i].Name != v.Name() {
			return none, errors.New("signed by others, or in another order")
		}
	}
	written := n.Text + "\n"
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil {
			return none, err
		}
		written += "— " + s.Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	}
	if written != string(b) {
		return none, errors.New("the signatures have another spelling")
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return none, fmt.Errorf("%d lines of text", len(lines)-1)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return none, err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return none, err
	}
	if lines[0] != k.log.Name() || lines[1] != strconv.FormatInt(size, 10) || lines[2] != root.String() {
		return none, errors.New("the text has another spelling, or another origin")
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// ---- logs

// The files of a directory, by their paths below it.
func readFiles(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, part := range []string{"log", "earlier"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			files[name] = b
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Where a tile lies: x/mod's paths name the height, those of c2sp.org/tlog-tiles do not, and what x/mod
// calls data are the entries.
func pathOf(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height))
	return "log/tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// The tiles of hashes of a tree. x/mod lists every width that a tile has had; the last is what is left.
func tilesOf(size int64) []tlog.Tile {
	var tiles []tlog.Tile
	for _, t := range tlog.NewTiles(height, 0, size) {
		last := len(tiles) - 1
		if last >= 0 && tiles[last].L == t.L && tiles[last].N == t.N {
			tiles[last] = t
		} else {
			tiles = append(tiles, t)
		}
	}
	return tiles
}

// Reads tiles out of the files, for x/mod to authenticate.
type tileReader map[string][]byte

func (r tileReader) Height() int                     { return height }
func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		b, ok := r[pathOf(t)]
		if !ok {
			return nil, fmt.Errorf("%s is missing", pathOf(t))
		}
		out = append(out, b)
	}
	return out, nil
}

func checkLog(k *keys, files map[string][]byte) (int64, error) {
	tree, err := openCheckpoint(k, files["log/checkpoint"])
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %v", err)
	}
	// No log of these tests is larger; a wrong size would keep this busy otherwise.
	if tree.N < 1 || tree.N > 1<<20 {
		return 0, fmt.Errorf("%d leaves", tree.N)
	}
	tiles := tilesOf(tree.N)
	if err := checkNames(tiles, files); err != nil {
		return 0, err
	}
	stored, err := hashEntries(tiles, files)
	if err != nil {
		return 0, err
	}
	all := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if x >= int64(len(stored)) {
				return nil, errors.New("too few entries")
			}
			out[i] = stored[x]
		}
		return out, nil
	})
	root, err := tlog.TreeHash(tree.N, all)
	if err != nil {
		return 0, err
	}
	if root != tree.Hash {
		return 0, errors.New("the entries have another root than the checkpoint")
	}
	for _, t := range tiles {
		data, err := tlog.ReadTileData(t, all)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(data, files[pathOf(t)]) {
			return 0, fmt.Errorf("%s is not what the entries make", pathOf(t))
		}
	}
	return tree.N, checkProofs(k, tree, files, stored)
}

// What is there is what a tree of this size has, and nothing else.
func checkNames(tiles []tlog.Tile, files map[string][]byte) error {
	expected := map[string]bool{"log/checkpoint": true, "earlier": true}
	for _, t := range tiles {
		expected[pathOf(t)] = true
		if t.L == 0 {
			t.L = -1
			expected[pathOf(t)] = true
		}
	}
	for name := range files {
		if !expected[name] {
			return fmt.Errorf("%s is not part of the log", name)
		}
	}
	for name := range expected {
		if _, ok := files[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// All hashes of the tree, out of the bundles of entries.
func hashEntries(tiles []tlog.Tile, files map[string][]byte) ([]tlog.Hash, error) {
	var stored []tlog.Hash
	sofar := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	for _, t := range tiles {
		if t.L != 0 {
			continue
		}
		bundle := t
		bundle.L = -1
		rest := files[pathOf(bundle)]
		for i := 0; i < t.W; i++ {
			if len(rest) < 2 {
				return nil, fmt.Errorf("%s ends early", pathOf(bundle))
			}
			n := int(binary.BigEndian.Uint16(rest))
			if len(rest) < 2+n {
				return nil, fmt.Errorf("%s ends early", pathOf(bundle))
			}
			hashes, err := tlog.StoredHashes(t.N<<height+int64(i), rest[2:2+n], sofar)
			if err != nil {
				return nil, err
			}
			stored = append(stored, hashes...)
			rest = rest[2+n:]
		}
		if len(rest) != 0 {
			return nil, fmt.Errorf("%s goes on after its last entry", pathOf(bundle))
		}
	}
	return stored, nil
}

// Proofs out of the tiles alone, as a client makes them.
func checkProofs(k *keys, tree tlog.Tree, files map[string][]byte, stored []tlog.Hash) error {
	reader := tlog.TileHashReader(tree, tileReader(files))
	for _, i := range []int64{0, 1, 127, 255, 256, 257, 32768, 65535, 65536, 69999, tree.N / 2, tree.N - 1} {
		if i >= tree.N {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, i, reader)
		if err != nil {
			return fmt.Errorf("inclusion of %d: %v", i, err)
		}
		leaf := stored[tlog.StoredHashIndex(0, i)]
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, i, leaf); err != nil {
			return fmt.Errorf("inclusion of %d: %v", i, err)
		}
	}
	earlier, err := openCheckpoint(k, files["earlier"])
	if err != nil {
		return fmt.Errorf("the earlier checkpoint: %v", err)
	}
	proof, err := tlog.ProveTree(tree.N, earlier.N, reader)
	if err != nil {
		return fmt.Errorf("consistency with %d: %v", earlier.N, err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, earlier.N, earlier.Hash); err != nil {
		return fmt.Errorf("consistency with %d: %v", earlier.N, err)
	}
	return nil
}

// ---- logs in a store

// The newest checkpoint's tree as a whole, and every checkpoint that there was as one that it goes on from.
func checkStored(dir string) (string, error) {
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return "", err
	}
	log, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return "", fmt.Errorf("the log's key: %v", err)
	}
	k := &keys{log: log}
	files := make(map[string][]byte)
	files["log/checkpoint"], err = os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := openCheckpoint(k, files["log/checkpoint"])
	if err != nil {
		return "", fmt.Errorf("checkpoint: %v", err)
	}
	for _, t := range tilesOf(tree.N) {
		paths := []string{pathOf(t)}
		if t.L == 0 {
			t.L = -1
			paths = append(paths, pathOf(t))
		}
		for _, path := range paths {
			files[path], err = os.ReadFile(filepath.Join(dir, strings.TrimPrefix(path, "log/")))
			if err != nil {
				return "", err
			}
		}
	}
	archived, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	if err != nil || len(archived) == 0 {
		return "", fmt.Errorf("no checkpoints are kept: %v", err)
	}
	for _, file := range archived {
		if files["earlier"], err = os.ReadFile(file); err != nil {
			return "", err
		}
		if _, err := checkLog(k, files); err != nil {
			return "", fmt.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
	return fmt.Sprintf("%d leaves, %d checkpoints", tree.N, len(archived)), nil
}

// ---- alterations

// Makes one alteration at a time, and wants each refused.
func refuseAll(k *keys, files map[string][]byte) (string, error) {
	refused, accepted := 0, []string{}
	reasons := make(map[string]int)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		altered, err := alter(files, strings.Split(lines.Text(), " "))
		if err != nil {
			return "", fmt.Errorf("%s: %v", lines.Text(), err)
		}
		if _, err := checkLog(k, altered); err != nil {
			refused++
			reasons[strings.SplitN(err.Error(), ":", 2)[0]]++
		} else {
			accepted = append(accepted, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if len(accepted) > 0 {
		return "", fmt.Errorf("accepted with %s", strings.Join(accepted, "; "))
	}
	// The last line counts them, those before say why.
	var said []string
	for reason, n := range reasons {
		said = append(said, fmt.Sprintf("%6d %s", n, reason))
	}
	sort.Strings(said)
	said = append(said, fmt.Sprintf("refused %d", refused))
	return strings.Join(said, "\n"), nil
}

// A copy of the files with one alteration, which must be one:
//
//	flip NAME OFFSET MASK | cut NAME LENGTH | append NAME | remove NAME | add NAME | swap NAME NAME
func alter(files map[string][]byte, words []string) (map[string][]byte, error) {
	altered := make(map[string][]byte, len(files)+1)
	for name, b := range files {
		altered[name] = b
	}
	if len(words) < 2 {
		return nil, errors.New("no alteration")
	}
	name := words[1]
	b, ok := files[name]
	if ok == (words[0] == "add") {
		return nil, fmt.Errorf("%s: exists %v", name, ok)
	}
	number := func(i, limit int) (int, error) {
		if i >= len(words) {
			return 0, errors.New("a number is missing")
		}
		n, err := strconv.Atoi(words[i])
		if err == nil && (n < 0 || n >= limit) {
			err = fmt.Errorf("%d is not below %d", n, limit)
		}
		return n, err
	}
	b = append([]byte(nil), b...)
	switch words[0] {
	case "flip":
		at, err := number(2, len(b))
		if err != nil {
			return nil, err
		}
		mask, err := number(3, 256)
		if err != nil || mask == 0 {
			return nil, fmt.Errorf("mask: %v", err)
		}
		b[at] ^= byte(mask)
		altered[name] = b
	case "cut":
		length, err := number(2, len(b))
		if err != nil {
			return nil, err
		}
		altered[name] = b[:length]
	case "append":
		altered[name] = append(b, 0)
	case "remove":
		delete(altered, name)
	case "add":
		altered[name] = []byte{}
	case "swap":
		if len(words) != 3 {
			return nil, errors.New("two names")
		}
		other, ok := files[words[2]]
		if !ok || bytes.Equal(b, other) {
			return nil, fmt.Errorf("%s is missing or the same", words[2])
		}
		altered[name], altered[words[2]] = other, b
	default:
		return nil, fmt.Errorf("%s is not known", words[0])
	}
	return altered, nil
}

// ---- proof files

// c2sp.org/tlog-proof@v1
func checkProof(k *keys, dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "proof"))
	if err != nil {
		return "", err
	}
	entry, err := os.ReadFile(filepath.Join(dir, "entry"))
	if err != nil {
		return "", err
	}
	end := bytes.Index(b, []byte("\n\n"))
	if end < 0 {
		return "", errors.New("no empty line")
	}
	tree, err := openCheckpoint(k, b[end+2:])
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(b[:end]), "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("no proof")
	}
	lines = lines[1:]
	if strings.HasPrefix(lines[0], "extra ") {
		if _, err := base64.StdEncoding.DecodeString(lines[0][6:]); err != nil {
			return "", err
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return "", errors.New("no index")
	}
	index, err := strconv.ParseInt(lines[0][6:], 10, 64)
	if err != nil {
		return "", err
	}
	var proof tlog.RecordProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("entry %d of %d", index, tree.N), nil
}
