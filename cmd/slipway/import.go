package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/codepipeline"
)

func (a *app) importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Take over what other systems have: pipelines, installed files",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return usage(fmt.Errorf("import what? see %s --help", c.CommandPath()))
		},
	}
	c.AddCommand(a.importCodePipelineCommand(), a.importCodeDeployCommand())
	return c
}

func (a *app) importCodePipelineCommand() *cobra.Command {
	var name, report string
	c := &cobra.Command{
		Use:   "codepipeline FILE|-",
		Short: "Print an AWS pipeline's declaration as a pipeline file",
		Long: `Reads what aws codepipeline get-pipeline prints, a bare declaration, or a
CloudFormation resource or template with one pipeline, as JSON or YAML; "-" is
standard input. The pipeline file goes to standard output, and to standard error
goes a report of what means the same, what nearly does, what was dropped, and
what somebody has to do first.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return a.importCodePipeline(args[0], name, report) },
	}
	c.Flags().StringVar(&name, "name", "", "what to call the pipeline (default: as in the declaration)")
	c.Flags().StringVar(&report, "report", "", "`file` for the report, as Markdown (default: standard error)")
	return c
}

func (a *app) importCodePipeline(path, name, report string) error {
	data, err := readInput(path)
	if err != nil {
		return usage(err)
	}
	made, err := codepipeline.Read(path, data, name)
	if err != nil {
		return usage(err)
	}
	if report != "" {
		if err := os.WriteFile(report, []byte(made.Markdown()), 0o644); err != nil {
			return usage(fmt.Errorf("writing the report: %w", err))
		}
	} else {
		fmt.Fprint(a.stderr, made.Markdown())
	}
	_, err = a.stdout.Write(made.File)
	return err
}

// inputLimit bounds what is read from standard input.
const inputLimit = 4 << 20

func readInput(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, inputLimit))
	}
	return os.ReadFile(path)
}
