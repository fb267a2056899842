package runner

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	helperScript = "git-credential.sh"
	askPipe      = "git-ask"
	answerPipe   = "git-answer"
	pipeMode     = 0o666 // commands may run as any user of the image
)

// helper answers git's question for a credential with what comes out of a pipe,
// one asking at a time.
const helper = `#!/bin/sh
[ "$1" = get ] || exit 0
cd %s || exit 0
tries=0
until mkdir git-lock 2>/dev/null; do
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || break
	sleep 0.1 2>/dev/null || sleep 1
done
trap 'rmdir git-lock 2>/dev/null' EXIT
echo get >git-ask
while IFS= read -r line && [ -n "$line" ]; do echo "$line"; done <git-answer
`

// lend gives the build's git the credential of the source, if the buildspec
// wants it and the server allows it (CodeBuild reference, env.git-credential-helper).
// It is in no variable and no file, and the result names none: git asks a
// script for it, which asks this process.
func (r *build) lend() ([]pipeline.Variable, error) {
	src := r.order.Source
	at, err := url.Parse(src.URL)
	if !r.spec.Env.GitCredentialHelper {
		return nil, nil
	}
	if !src.Lend || src.Password == "" || err != nil || at.Scheme != "https" && at.Scheme != "http" {
		r.log.line("Warning: env.git-credential-helper has no effect: this build has no credential that reads its own repository and nothing else")
		return nil, nil
	}
	if strings.ContainsAny(src.User+src.Password, "\n\x00") {
		return nil, errors.New("lending the source's credential: a line break in it")
	}
	ask, err := makePipe(r.place.Work, askPipe)
	if err != nil {
		return nil, err
	}
	answer, err := makePipe(r.place.Work, answerPipe)
	if err != nil {
		return nil, errors.Join(err, ask.Close())
	}
	r.background.Go(func() {
		<-r.over
		_ = errors.Join(ask.Close(), answer.Close()) // which ends the answering
	})
	r.background.Go(func() { answerAll(ask, answer, "username="+src.User+"\npassword="+src.Password+"\n\n") })
	if err := writeFile(r.shell.folder, helperScript, fmt.Sprintf(helper, quote(r.shell.work))); err != nil {
		return nil, err
	}
	return []pipeline.Variable{
		{Name: "GIT_CONFIG_COUNT", Value: "1"},
		{Name: "GIT_CONFIG_KEY_0", Value: "credential." + at.Scheme + "://" + at.Host + ".helper"},
		{Name: "GIT_CONFIG_VALUE_0", Value: "!sh " + quote(r.shell.work+"/"+helperScript)},
	}, nil
}

// makePipe makes a named pipe and opens both its ends, so that nobody ever
// waits for somebody to open the other one.
func makePipe(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	if err := syscall.Mkfifo(path, pipeMode); err != nil {
		return nil, fmt.Errorf("making a pipe for git: %w", err)
	}
	if err := os.Chmod(path, pipeMode); err != nil {
		return nil, fmt.Errorf("making a pipe for git: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|nonBlocking, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a pipe for git: %w", err)
	}
	return f, nil
}

// answerAll writes the answer for each line that is asked, until the pipes are
// closed. A build that asks and doesn't read fills a pipe and no more.
func answerAll(ask, answer *os.File, text string) {
	buf := make([]byte, 256)
	for {
		n, err := ask.Read(buf)
		if err != nil {
			return
		}
		for range strings.Count(string(buf[:n]), "\n") {
			if _, err := answer.WriteString(text); err != nil {
				return
			}
		}
	}
}
