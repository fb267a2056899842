package pipeline

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

var idSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://slipway-ci.github.io/ids"))

func uuid5(parts ...string) string {
	return uuid.NewSHA1(idSpace, []byte(strings.Join(parts, "\x00"))).String()
}

// ExecutionID is the same for the same delivery, pipeline and attempt of the
// delivery, so that a delivery that is handled twice starts one execution.
func ExecutionID(forgeName, delivery, board string, attempt int) string {
	return uuid5("execution", forgeName, delivery, board, strconv.Itoa(attempt))
}

// BuildID names one attempt of one action.
func BuildID(execution, stage, action string, attempt int) string {
	return uuid5("build", execution, stage, action, strconv.Itoa(attempt))
}

// DeploymentID names one attempt of a deployment: d- and nine letters, as
// CodeDeploy spells it.
func DeploymentID(execution, stage, action string, attempt int) string {
	sum := sha256.Sum256([]byte(uuid5("deployment", execution, stage, action, strconv.Itoa(attempt))))
	return "d-" + base32.StdEncoding.EncodeToString(sum[:])[:9]
}

// approvalToken names one question of one approve action.
func approvalToken(execution, stage, action string, attempt int) string {
	return uuid5("approval", execution, stage, action, strconv.Itoa(attempt))
}

// rollbackID names the execution that an event makes in order to go back.
func rollbackID(event, board, stage string) string { return uuid5("rollback", event, board, stage) }

// clean keeps what may stand in an ID; everything else becomes a dash.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '@':
			return r
		}
		return '-'
	}, s)
}

func itoa(n int) string               { return strconv.Itoa(n) }
func hasPrefix(s, prefix string) bool { return strings.HasPrefix(s, prefix) }
