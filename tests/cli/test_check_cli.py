"""`intermute check`, and which paths are meant by what."""

import pytest

from .conftest import Shell

# -- Check --------------------------------------------------------------------------------------


async def test_a_free_path_ends_with_0(shell: Shell):
    done = await shell.run("check", "src/a.py")
    assert done.out == "Free: 1 path\n"
    assert done.err == ""
    done = await shell.run("check", "--json", "src/a.py")
    assert done.members["free"] is True


async def test_a_conflict_ends_with_5_and_says_all_there_is_to_say(shell: Shell):
    taken = await shell.server.reserve("ada", "src/**", reason="rename it all")
    done = await shell.run("check", "src/*/token.py", code=5)
    assert "src/*/token.py: ada (unregistered) holds src/** exclusively until" in done.out
    assert taken["expires_at"] in done.out
    assert "both match src/" in done.out
    assert "reason: rename it all" in done.out
    assert done.out.splitlines()[-1] == "Next: intermute wait 'src/*/token.py'"
    assert "force" not in done.out


async def test_json_is_what_the_server_says(shell: Shell):
    await shell.server.reserve("ada", "src/**", reason="\u00e9")
    done = await shell.run("check", "--json", "src/a.py", "b", code=5)
    assert done.members == await shell.server.check("src/a.py", "b")
    listed = await shell.server.client.get("/api/reservations")
    assert (await shell.run("reservations", "--json")).members == listed.json()


async def test_ones_own_and_other_modes_are_in_nobodys_way(shell: Shell):
    await shell.server.reserve("ada", "src", shared=True)
    await shell.run("check", "src", agent="ada")
    await shell.run("check", "--agent", "ada", "src")
    await shell.run("check", "src", "--mode", "shared")
    await shell.run("check", "src", "--mode", "IS")
    await shell.run("check", "src", agent="bob", code=5)


async def test_those_who_wait_are_told_and_the_place_behind_them(shell: Shell):
    await shell.server.reserve("ada", "a", shared=True)
    bob = (await shell.server.register("Bob"))["agent_id"]
    await shell.server.reserve(bob, "a", queue=True, expected=202)
    done = await shell.run("check", "a", code=5)
    assert "ada (unregistered) holds a shared until" in done.out
    assert "Bob (live) waits for a and came first" in done.out
    assert "1 other came first: the place in line would be 2" in done.out


# -- Which paths --------------------------------------------------------------------------------


async def test_a_hundred_staged_files_are_checked_in_one_request(shell: Shell):
    names = [f"src/package{n % 7}/some_module_{n}.py" for n in range(100)]
    shell.write(*names)
    shell.git("add", ".")
    await shell.server.reserve("eve", "docs")
    before = await shell.decided()
    done = await shell.run("check", "--staged")
    assert done.out == "Free: 100 paths\n"
    # The look itself is one, the check is another, and the sweeper may have had its first turn.
    assert await shell.decided() - before in (2, 3)
    await shell.server.reserve("ada", names[50])
    done = await shell.run("check", "--staged", code=5)
    assert names[50] in done.out
    assert done.out.splitlines()[-1] == "Next: intermute wait --staged"


async def test_staged_files_are_named_from_the_top_whatever_they_are_called(shell: Shell):
    odd = ["app/[id]/page.tsx", "a b/*.md", "sub/deep/\u00e4.py", "sub/{x}", "-n"]
    shell.write("old.py", "gone.py")
    shell.git("add", ".")
    shell.git("commit", "-qm", "one")
    shell.git("mv", "old.py", "sub_new.py")
    shell.git("rm", "-q", "gone.py")
    shell.write(*odd)
    shell.git("config", "diff.relative", "true")
    shell.git("add", ".")
    done = await shell.run("reserve", "--staged", "--json", here="sub/deep", agent="ada")
    assert set(done.members["patterns"]) == {
        *("old.py", "sub_new.py", "gone.py", "-n", "sub/deep/\u00e4.py"),
        *(r"app/\[id\]/page.tsx", r"a b/\*.md", r"sub/\{x\}"),
    }
    await shell.run("check", "app/[id]/page.tsx", agent="bob", code=5)
    assert (await shell.server.check("app/i/page.tsx"))["free"] is True


async def test_nothing_staged_is_nothing_to_do(shell: Shell):
    done = await shell.run("check", "--staged")
    assert done.out == ""
    assert "nothing to do" in done.err
    assert (await shell.run("check", "--staged", "--json")).members["free"] is True
    await shell.run("reserve", "--staged", agent="ada")
    assert (await shell.server.check("**"))["free"] is True


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("-",), b"src/a.py\nsrc/b.py\n"),
        (("--stdin",), b"src/a.py\r\n\r\nsrc/b.py"),
        (("-",), b"src/a.py\0src/b.py\0"),
        (("--stdin", "-0"), b"src/b.py"),
        (("x", "-", "y"), b"./src//b.py"),
    ],
)
async def test_paths_come_from_standard_input(
    shell: Shell, arguments: tuple[str, ...], stdin: bytes
):
    await shell.server.reserve("ada", "src/b.py")
    done = await shell.run("check", *arguments, stdin=stdin, code=5)
    assert "both match src/b.py" in done.out


async def test_a_line_end_belongs_to_a_name_where_nul_separates(shell: Shell):
    done = await shell.run("check", "--stdin", "-0", stdin=b"a\nb", code=2)
    assert "control characters" in done.err


async def test_names_from_standard_input_are_no_patterns(shell: Shell):
    await shell.server.reserve("ada", "a1")
    await shell.run("check", "-", stdin=b"a?\na[1]\n{a1}")
    await shell.run("check", "a?", code=5)


async def test_paths_are_named_from_the_top_of_the_repository(shell: Shell):
    shell.write("lib/x.py", "src/deep/y.py")
    await shell.server.reserve("ada", "lib", "src/deep/new*")
    for words, here in (
        (("../../lib/x.py",), "src/deep"),
        (("newer.py",), "src/deep"),
        (("new*",), "src/deep"),
        (("deep/n?w",), "src"),
        ((str(shell.repository / "lib" / "x.py"),), "src"),
        ((str(shell.repository),), "src"),
        ((".",), "."),
        (("lib/",), "."),
    ):
        done = await shell.run("check", *words, here=here, code=5)
        assert "ada (unregistered) holds" in done.out, words
    await shell.run("check", "x.py", "newer.py")
    await shell.run("check", "y.py", here="src/deep")


async def test_many_paths_are_checked_in_several_requests(shell: Shell):
    await shell.server.reserve("ada", "dir", "f3")
    await shell.server.reserve("eve", "f599")
    names = "\n".join(["dir/a", *(f"f{n}" for n in range(600)), "dir/b"]).encode()
    before = await shell.decided()
    done = await shell.run("check", "-", "--json", stdin=names, code=5)
    assert await shell.decided() - before in (4, 5)
    assert [each["agent_id"] for each in done.members["conflicts"]] == ["ada", "eve"]
    assert done.members["free"] is False


async def test_long_names_take_no_more_requests(shell: Shell):
    names = [f"{n}/" + "\u6f22" * 80 for n in range(100)]
    shell.write(*names)
    shell.git("add", ".")
    await shell.server.reserve("ada", "x")
    before = await shell.decided()
    assert (await shell.run("check", "--staged")).out == "Free: 100 paths\n"
    assert await shell.decided() - before in (2, 3)
