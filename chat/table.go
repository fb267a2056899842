package chat

import (
	"fmt"
	"strings"
)

// Who may use a command. The roles form a ladder, read < triage < write <
// maintain < admin, asked from the forge (forges reference 4.4, 5.3).
type Who string

// The answers to who may.
const (
	Reader   Who = "read"
	Writer   Who = "write"
	Tester   Who = "write, or the author of a pull request that isn't from a stranger"
	Starter  Who = "write, or whoever started it"
	Trusting Who = "write, maintain or admin" // approver_roles
	Approver Who = "the gate's approvers"
	Deployer Who = "write, and the environment's approvers where it is protected"
	Owner    Who = "the environment's approvers"
	Stager   Who = "write, and the environment's approvers where the stage has one"
	Holder   Who = "whoever holds it, or maintain"
	Admin    Who = "admin"
)

// Spec is one command: what it is called, who may, and what it does.
type Spec struct {
	Name string
	Args string // how its arguments are written
	Who  Who
	Help string // one sentence
	// Closed says that it also works on a pull request that is closed.
	Closed bool

	least, most int             // how many arguments
	flags       map[string]bool // and whether each takes a value
	variables   bool            // whether it takes key=value
}

// Usage is how the command is written.
func (s *Spec) Usage() string { return strings.TrimSpace("/" + s.Name + " " + s.Args) }

const few = 10 // names in one command

// Commands is everything that can be asked for, in the order of /help.
var Commands = []*Spec{
	{Name: "help", Args: "[COMMAND]", Who: Reader, most: 1, Closed: true,
		Help: "Lists the commands that you may use here, or explains one."},
	{Name: "status", Args: "[PIPELINE]", Who: Reader, most: 1, Closed: true,
		Help: "Says how the executions of this pull request's head are."},
	{Name: "logs", Args: "ACTION [-n 1..200]", Who: Reader, least: 1, most: 1, flags: map[string]bool{"n": true}, Closed: true,
		Help: "Shows the last lines of an action's log."},
	{Name: "test", Args: "[PIPELINE... | all]", Who: Tester, most: few,
		Help: "Runs pipelines for the head of this pull request, also if its commit asks to skip CI."},
	{Name: "retest", Args: "[PIPELINE...]", Who: Tester, most: few,
		Help: "Runs again what failed, was stopped or timed out for the head of this pull request."},
	{Name: "run", Args: "PIPELINE [KEY=VALUE...]", Who: Writer, least: 1, most: 1, variables: true,
		Help: "Runs a pipeline for the head of this pull request, also one that pull requests don't start."},
	{Name: "ok-to-test", Args: "[SHA | cancel]", Who: Trusting, most: 1,
		Help: "Lets one commit of a stranger's pull request be built, without secrets; `cancel` takes it back."},
	{Name: "cancel", Args: "[EXECUTION | PIPELINE | all] [--abandon]", Who: Starter, most: 1, flags: map[string]bool{"abandon": false}, Closed: true,
		Help: "Stops executions of this pull request; with `--abandon` without waiting for running actions."},
	{Name: "approve", Args: "[GATE] [--run ID] [--sha SHA] [-m TEXT] [FIELD=VALUE...]", Who: Approver, most: 1, variables: true, Closed: true,
		flags: map[string]bool{"run": true, "sha": true, "m": true}, Help: "Approves the gate that an execution waits at, with what it asks for."},
	{Name: "reject", Args: "[GATE] [--run ID] [--sha SHA] [-m TEXT]", Who: Approver, most: 1, Closed: true,
		flags: map[string]bool{"run": true, "sha": true, "m": true}, Help: "Rejects at the gate; the stage fails."},
	{Name: "deploy", Args: "ENV [--sha SHA] [--pipeline P] [KEY=VALUE...]", Who: Deployer, least: 1, most: 1, variables: true, Closed: true,
		flags: map[string]bool{"sha": true, "pipeline": true}, Help: "Runs the stage that deploys to the environment, for the head of this pull request."},
	{Name: "rollback", Args: "ENV [--to DEPLOYMENT]", Who: Owner, least: 1, most: 1, Closed: true,
		flags: map[string]bool{"to": true}, Help: "Deploys the last good revision to the environment again, or the named one."},
	{Name: "stop", Args: "ENV [--rollback]", Who: Owner, least: 1, most: 1, flags: map[string]bool{"rollback": false}, Closed: true,
		Help: "Stops the deployments of this repository that run to the environment. With `--rollback` the last good revision is deployed in their place; without it, that is their group's to say."},
	{Name: "retry", Args: "STAGE [--all]", Who: Stager, least: 1, most: 1, flags: map[string]bool{"all": false}, Closed: true,
		Help: "Runs the failed actions of a stage again, within its execution; with `--all` all actions."},
	{Name: "hold", Args: "STAGE|ENV [--pipeline P] [-m TEXT]", Who: Writer, least: 1, most: 1, flags: map[string]bool{"pipeline": true, "m": true}, Closed: true,
		Help: "Lets no execution of the pipeline into the stage until `/unhold`; they wait in front of it."},
	{Name: "unhold", Args: "STAGE|ENV [--pipeline P]", Who: Holder, least: 1, most: 1, flags: map[string]bool{"pipeline": true}, Closed: true,
		Help: "Lets executions into the stage again."},
	{Name: "override", Args: "CHECK -m REASON", Who: Admin, least: 1, most: 1, flags: map[string]bool{"m": true},
		Help: "Lets the failed check of a pipeline pass for this commit, and says who did so and why; what failed stays failed."},
}

var byName = func() map[string]*Spec {
	m := make(map[string]*Spec, len(Commands))
	for _, s := range Commands {
		m[s.Name] = s
	}
	return m
}()

// Lookup is the command of that name in lower case, or nil.
func Lookup(name string) *Spec { return byName[name] }

// Reference is docs/chatops.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("<!-- Made from the table of commands by `make generate`. -->\n# Comments as commands\n\n")
	b.WriteString("A command is a line of a comment on a pull request that begins with `/` in its first column, outside of code and quotes. ")
	b.WriteString("`/slipway NAME` is the same as `/NAME`. Text before and after, on other lines, is welcome. ")
	b.WriteString("Only new comments and reviews are read; editing one does nothing.\n\n| command | who may | what it does |\n| --- | --- | --- |\n")
	for _, s := range Commands {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(s.Usage(), "|", `\|`), s.Who, s.Help)
	}
	b.WriteString("\nA repository can have more: those that its pipeline files name under [`on.comment`](pipeline-files.md#triggers). ")
	b.WriteString("Other lines with a slash are somebody else's, and aren't answered.\n")
	b.WriteString("\n`/codebuild_run(SHA)`, with the whole commit ID, is the same as `/ok-to-test SHA`.\n\n")
	fmt.Fprintf(&b, "Words may be quoted with `'` or `\"`; nothing in them is expanded. A comment has at most %d commands and %d KiB, a line %d characters. ", commandsLimit, bodyLimitBytes>>10, lineLimitRunes)
	b.WriteString("What acts on a commit says which; if the head has moved since, it is refused and the answer names the new head.\n")
	return b.String()
}
