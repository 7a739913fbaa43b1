"""Commands of tvts-bench, run in the process of the test."""

from typer.testing import CliRunner, Result

from tvts_bench.cli.main import app


class Run:
    """`run("retrieval", ...)`: a command in this process, its result with both outputs."""

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    def refused(self, *arguments: str) -> str:
        """The one sentence on standard error of a command that must end with exit code 2."""
        result = self(*arguments)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert result.stderr.count("error: ") == 1, result.stderr
        return result.stderr
