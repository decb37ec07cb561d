"""Wrong usage and run files: what is said, and exit code 2. Help, version and init."""

import os
import unittest

from harness import DATA, USAGE, CliTest


class Usage(CliTest):
    def test_help_of_every_command_has_an_example(self):
        out, _ = self.tool("--help")
        for command in ("init", "check", "analyze", "advise", "train", "compare", "evaluate", "methods"):
            self.assertIn(command, out)
            own, _ = self.tool(command, "--help")
            self.assertIn(f"Example:\n  osculant {command}", own)

    def test_version(self):
        out, _ = self.tool("--version")
        self.assertRegex(out, r"^osculant \d+\.\d+\.\d+\n$")

    def test_no_command_and_unknown_words(self):
        self.refused(USAGE, says="subcommand is required")
        self.refused(USAGE, "analyse", says="did you mean analyze?")
        self.refused(USAGE, "train", "--epoch", "3", says="did you mean --epochs?")

    def test_unknown_key_names_its_line_and_the_nearest_key(self):
        self.write("run.toml", '[train]\nmethod = "adam"\nbatchsize = 3\n')
        self.refused(USAGE, "train", "run.toml", says="run.toml:3: unknown key train.batchsize; did you mean train.batch_size?")

    def test_wrong_type_names_line_value_and_what_was_expected(self):
        self.write("run.toml", '[train]\nsteps = "ten"\n')
        self.refused(USAGE, "train", "run.toml", says='run.toml:2: train.steps = "ten": must be an integer >= 1')

    def test_broken_toml_names_its_line(self):
        self.write("run.toml", "[train]\nsteps = = 2\n")
        self.refused(USAGE, "train", "run.toml", says="run.toml:2: ")

    def test_missing_run_file(self):
        self.refused(USAGE, "train", "nothing.toml", says="nothing.toml: no such run file")

    def test_bad_flags(self):
        self.refused(USAGE, "analyze", "--set", "nonsense", says="must be KEY=VALUE")
        self.refused(USAGE, "analyze", "--set", "train.metod=adam", says="--set: unknown key train.metod; did you mean train.method?")
        self.refused(USAGE, "analyze", "--dtype", "float16", says="--dtype: run.dtype = float16: must be one of float32, float64")
        self.refused(USAGE, "analyze", "--memory-budget", "lots", says="--memory-budget: run.memory_budget = lots: must be")

    def test_what_is_missing_is_named(self):
        self.refused(USAGE, "analyze", says="model.kind")
        self.refused(USAGE, "analyze", "--model", "mlp:2-2", says="data.kind")
        self.linear_problem()
        self.refused(USAGE, "analyze", "--model", "m.pt2", "--data", "train.safetensors", says="loss.kind")

    def test_set_adds_to_the_network_of_the_flag(self):
        self.tool("train", "--set", "model.activation=tanh", *self.cloud_problem(), "--method", "sgd", "--steps", "1", "--out", "t")
        self.assertIn('activation = "tanh"', (self.folder / "t/run.toml").read_text().replace("'", '"'))

    @unittest.skipIf(os.environ.get("OSCULANT_MPI") == "ON", "built with MPI")
    def test_under_mpirun_without_mpi(self):
        self.refused(USAGE, "methods", says="mpirun", env={"OMPI_COMM_WORLD_SIZE": "2"})
        self.tool("methods", env={"OMPI_COMM_WORLD_SIZE": "1"})

    def test_control_characters_of_names_do_not_reach_the_terminal(self):
        _, err = self.tool("train", "no\x1b[31mfile.toml", code=USAGE)
        self.assertNotIn("\x1b", err)
        self.assertIn("no?[31mfile.toml", err)


class Init(CliTest):
    def test_writes_a_run_file_that_reads_again(self):
        self.tool("init", "RUN.toml")
        text = (self.folder / "RUN.toml").read_text()
        self.assertIn("[model]\n", text)
        self.refused(USAGE, "init", "RUN.toml", says="--overwrite")
        self.tool("init", "RUN.toml", "--overwrite")
        # It is read to the end: what is complained about is the value given on the command line.
        self.refused(USAGE, "check", "RUN.toml", "--set", "train.steps=x", says="--set: train.steps = x")

    def test_from_an_exported_program(self):
        self.linear_problem()
        out, _ = self.tool("init", "-", "--model", "m.pt2")
        self.assertIn('path = "m.pt2"', out)
        self.refused(DATA, "init", "-", "--model", "absent.pt2", says="absent.pt2: no such file")


class Methods(CliTest):
    def test_table_and_one_method(self):
        out, _ = self.tool("methods")
        for name in ("adam", "hessian_free", "inverse_correction", "lbfgs"):
            self.assertIn(name, out)
        out, _ = self.tool("methods", "hessian_free")
        for text in ("(B + lambda I) p = -g", "Martens 2010", "n numbers", "ge a step", "cg_iterations"):
            self.assertIn(text, out)
        self.refused(USAGE, "methods", "hessian_fre", says="did you mean hessian_free?")


if __name__ == "__main__":
    unittest.main()
