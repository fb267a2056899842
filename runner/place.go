package runner

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

//go:embed driver.sh
var driverScript string

// The commands that builds find in toolsName of the work folder, last on their
// PATH.
var (
	//go:embed hashfiles.sh
	hashFiles string
	//go:embed globsearch.sh
	globSearch string
	//go:embed testsrun.sh
	testsRun string
	//go:embed resume.sh
	resume string
)

const toolsName = "bin"

const (
	driverMode = 0o644
	sourceMode = 0o755
)

// Place are the folders of this host that belong to one build alone.
type Place struct {
	// Folder holds all of it. The engine takes it away with the container.
	Folder string
	// Work and Source are folders that the build sees. Work holds the driver.
	// Source is seen at SourcePath, a clean absolute path, where the engine can
	// arrange it; what is built is in it or below.
	Work, Source string
	SourcePath   string
}

// NewPlace makes the folders of a build below temp. Only this process's user
// can pass the outer one; inside, any user of the build's container may write
// to Work.
func NewPlace(temp string) (Place, error) {
	folder, err := os.MkdirTemp(temp, "build-")
	if err != nil {
		return Place{}, fmt.Errorf("making folder of build: %w", err)
	}
	name := fmt.Sprintf("src%09d", rand.IntN(1e9))
	p := Place{
		Folder: folder, Work: filepath.Join(folder, "tmp"),
		Source: filepath.Join(folder, name), SourcePath: outputPath + "/" + name,
	}
	if err := p.fill(); err != nil {
		return Place{}, errors.Join(err, os.RemoveAll(folder))
	}
	return p, nil
}

func (p Place) fill() error {
	if err := errors.Join(os.Mkdir(p.Work, sourceMode), os.Mkdir(p.Source, sourceMode)); err != nil {
		return fmt.Errorf("making folder of build: %w", err)
	}
	if err := os.Chmod(p.Work, 0o777|os.ModeSticky); err != nil {
		return fmt.Errorf("opening work folder to the build's users: %w", err)
	}
	for name, text := range map[string]string{DriverName: driverScript, beatName: "0\n"} {
		if err := os.WriteFile(filepath.Join(p.Work, name), []byte(text), driverMode); err != nil {
			return fmt.Errorf("writing driver: %w", err)
		}
	}
	return p.equip()
}

// equip makes the folder of commands that every build has.
func (p Place) equip() error {
	dir := filepath.Join(p.Work, toolsName)
	if err := os.Mkdir(dir, sourceMode); err != nil {
		return fmt.Errorf("making folder of tools: %w", err)
	}
	for name, text := range map[string]string{
		"codebuild-hash-files": hashFiles, "codebuild-glob-search": globSearch, "codebuild-tests-run": testsRun,
		"codebuild-breakpoint": "#!/bin/sh\n", "codebuild-resume": resume,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return fmt.Errorf("writing tool: %w", err)
		}
	}
	return nil
}

const (
	beatName  = "beat"
	beatEvery = 3 * time.Second
)

// KeepAlive tells a driver that waits for its first order that this process is
// alive, until ctx is over. Without that it ends itself after 10 seconds. work
// is the folder that it is in.
func KeepAlive(ctx context.Context, p Process, work string) error {
	root, err := os.OpenRoot(work)
	if err != nil {
		return fmt.Errorf("opening work folder: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	keepAlive(ctx, func(line string) error {
		_, err := io.WriteString(p, line+"\n")
		return err
	}, root)
	return nil
}

func keepAlive(ctx context.Context, order func(string) error, work *os.Root) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// A driver that is gone is noticed where its output ends.
		_ = order("beat")
		_ = beatFile(work)
	}
}

// beatFile writes what it never wrote before.
func beatFile(work *os.Root) error {
	f, err := work.OpenFile(beatName, os.O_WRONLY|os.O_TRUNC|nonBlocking, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, time.Now().UnixNano())
	return errors.Join(err, f.Close())
}
