"""What a replay learns of its own code: the commit, without starting git, and a hash."""

from pathlib import Path

from replay.outside import code_hash, commit_of, run_python

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def repository(root: Path) -> Path:
    git = root / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    return git


def test_the_commit_of_a_branch(tmp_path: Path) -> None:
    (repository(tmp_path) / "refs" / "heads" / "main").write_text(COMMIT + "\n")
    assert commit_of(tmp_path) == COMMIT


def test_the_commit_of_a_packed_branch(tmp_path: Path) -> None:
    git = repository(tmp_path)
    (git / "packed-refs").write_text(f"# pack-refs\nff refs/heads/old\n{COMMIT} refs/heads/main\n")
    assert commit_of(tmp_path) == COMMIT


def test_the_commit_of_a_detached_head(tmp_path: Path) -> None:
    (repository(tmp_path) / "HEAD").write_text(COMMIT + "\n")
    assert commit_of(tmp_path) == COMMIT


def test_the_commit_of_a_linked_work_tree(tmp_path: Path) -> None:
    git = repository(tmp_path / "main")
    (git / "refs" / "heads" / "side").write_text(COMMIT)
    linked = git / "worktrees" / "side"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/side")
    (linked / "commondir").write_text("../..\n")
    tree = tmp_path / "side"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {linked}\n")
    assert commit_of(tree) == COMMIT


def test_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    repository(tmp_path)
    assert commit_of(tmp_path) == ""


def test_the_code_hash_follows_the_kernel_only(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "a.py").write_text("A = 1\n")
    first = code_hash(tmp_path)
    (tmp_path / "notes.py").write_text("B = 1\n")
    (kernel / "notes.txt").write_text("text")
    assert code_hash(tmp_path) == first
    (kernel / "a.py").write_text("A = 2\n")
    second = code_hash(tmp_path)
    (kernel / "a.py").rename(kernel / "b.py")
    assert len(dict.fromkeys((first, second, code_hash(tmp_path)))) == 3


def test_another_checkout_runs_with_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("print('the other one')\n")
    assert run_python(tmp_path, ["-m", "kernel"]) == (0, "the other one\n", "")
    assert run_python(tmp_path, ["-m", "nothing"]).code == 1
