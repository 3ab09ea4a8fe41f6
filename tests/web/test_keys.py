import datetime as dt
import hashlib
import os
import stat
from collections.abc import Callable

import pytest
import yaml

from intermute.domain import limits
from intermute.domain.projects import normalise_project
from intermute.web import keys
from intermute.web.keys import KeysFileError, KeyStore, add_key, ensure, load

CLEAR = "an-old-key-in-clear-text-0123456789abcdefghi"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.yaml"


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_legacy_file_of_clear_keys_works(path):
    path.write_text(
        f"default_policy:\n  allow_localhost_without_auth: false\n"
        f"projects:\n  ' dev ':\n    keys: ['{CLEAR}', '  ', ' second ']\n  empty:\n  none: {{}}\n"
    )
    ring = load(path)
    assert not ring.allow_localhost_without_auth
    assert len(ring) == 2
    found = ring.find(CLEAR, 0.0)
    assert found is not None
    assert (found.project, found.rights) == ("dev", frozenset())
    assert ring.find("second", 0.0) is not None
    assert ring.find(CLEAR + "x", 0.0) is None
    assert ring.find("", 0.0) is None


@pytest.mark.parametrize("text", ["", "projects: {}", "default_policy:", "{}", "other: 1"])
def test_local_callers_are_allowed_by_default(path, text):
    path.write_text(text)
    assert load(path).allow_localhost_without_auth


def test_a_new_key_is_found_and_only_its_digest_is_stored(path):
    key = add_key(path, " dev ", rights=["operator", "export"])
    assert keys._KEY.fullmatch(key)
    assert key not in path.read_text()
    assert key.split("_", 2)[2] not in path.read_text()
    found = load(path).find(key, 0.0)
    assert found is not None
    assert (found.project, found.key_id) == ("dev", key.split("_")[1])
    assert found.rights == {"operator", "export"}
    assert load(path).find(key[:-1] + "~", 0.0) is None


def test_keys_are_random():
    assert len({keys.secrets.token_urlsafe(32) for _ in range(100)}) == 100


def test_adding_keeps_existing_keys_and_unknown_members(path):
    path.write_text(
        f"note: kept\ndefault_policy:\n  allow_localhost_without_auth: false\n  more: 1\n"
        f"projects:\n  dev:\n    owner: me\n    keys: [{CLEAR}]\n  other:\n    keys: [k2]\n"
    )
    first, second = add_key(path, "dev"), add_key(path, "dev")
    document = yaml.safe_load(path.read_text())
    assert document["note"] == "kept"
    assert document["default_policy"] == {"allow_localhost_without_auth": False, "more": 1}
    assert document["projects"]["dev"]["owner"] == "me"
    ring = load(path)
    for key in (first, second, CLEAR, "k2"):
        assert ring.find(key, 0.0) is not None


def test_project_names_are_one_whatever_their_unicode_form(path):
    path.write_text("projects:\n  caf\u00e9:\n    keys: [k1]\n", encoding="utf-8")
    key = add_key(path, " cafe\u0301 ")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(document["projects"]) == ["caf\u00e9"]
    found = load(path).find(key, 0.0)
    assert found is not None
    assert found.project == normalise_project("cafe\u0301")


def test_adding_to_a_missing_file_allows_local_callers(path):
    add_key(path, "dev")
    policy = yaml.safe_load(path.read_text())["default_policy"]
    assert policy == {"allow_localhost_without_auth": True}


NAMES = ["no", "Yes", "0123", "010", "1_0", "1.50", "0x1F", "null", "~", "2030-01-31", "1:30"]


def test_a_project_is_called_what_is_written_also_where_yaml_reads_something_else(path):
    sections = "".join(f"  {name}: {{keys: [key-of-{name}]}}\n" for name in NAMES)
    path.write_text(f"projects:\n{sections}more: {{no: 1}}\n")
    added = {name: add_key(path, name) for name in NAMES}
    for ring in (load(path), KeyStore(path).current(0.0)):
        assert len(ring) == 2 * len(NAMES)
        for name in NAMES:
            for key in (f"key-of-{name}", added[name]):
                found = ring.find(key, 0.0)
                assert found is not None
                assert found.project == name
    document = yaml.safe_load(path.read_text())
    assert list(document["projects"]) == NAMES
    assert document["more"] == {False: 1}


def test_what_is_merged_in_or_an_alias_is_no_name_twice(path):
    path.write_text(
        "base: &base {note: a, keys: [k1]}\nmore: &more {<<: *base, note: b}\n"
        "projects:\n  a: {<<: *more, note: c}\n  ' a': {keys: [k2]}\n  b: &b {}\n  c: *b\n"
    )
    ring = load(path)
    for key in ("k1", "k2"):
        found = ring.find(key, 0.0)
        assert found is not None
        assert found.project == "a"


def test_expiry_is_stored_and_honoured(path):
    moment = dt.datetime(2030, 1, 31, 13, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    key = add_key(path, "dev", expires_at=moment)
    assert "2030-01-31T12:00:00Z" in path.read_text()
    ring = load(path)
    assert ring.find(key, moment.timestamp() - 1) is not None
    assert ring.find(key, moment.timestamp()) is None


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("2030-01-31T12:00:00Z", 1896091200.0),
        ("'2030-01-31T12:00:00+00:00'", 1896091200.0),
        ("2030-01-31 12:00:00", 1896091200.0),
        ("2030-01-31", 1896048000.0),
    ],
)
def test_expiry_forms(path, text, unix_s):
    digest = hashlib.sha256(b"k").hexdigest()
    path.write_text(
        f"projects: {{dev: {{keys: [{{id: abc, sha256: '{digest}', expires_at: {text}}}]}}}}"
    )
    assert load(path).find("k", unix_s - 1) is not None
    assert load(path).find("k", unix_s) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"project": "  "},
        {"project": "x" * 201},
        {"project": "dev", "rights": ["No Spaces"]},
        {"project": "dev", "expires_at": dt.datetime(2030, 1, 1)},
    ],
)
def test_bad_arguments_leave_no_file(path, arguments):
    with pytest.raises(ValueError, match=r"."):
        add_key(path, **arguments)
    assert not path.exists()


MALFORMED = [
    (f"projects: [{CLEAR}]", "projects must be a mapping"),
    (f"projects: {{dev: {{keys: {CLEAR}}}}}", "projects.dev.keys must be a list"),
    (f"projects: {{dev: {CLEAR}}}", "projects.dev must be a mapping"),
    (f"projects: {{dev: {{keys: [[{CLEAR}]]}}}}", "projects.dev.keys[0] must be text"),
    (f"projects: {{dev: {{keys: [k, {{id: 1, x: {CLEAR}}}]}}}}", "projects.dev.keys[1].id"),
    (f"projects: {{dev: {{keys: [{{id: a, sha256: {CLEAR}}}]}}}}", "projects.dev.keys[0].sha256"),
    (f"{CLEAR}: [", "not valid YAML at line"),
    (f"a: {CLEAR}\nb: {CLEAR}: c", "not valid YAML at line 2"),
    (f"[{CLEAR}]", "the file must be a mapping"),
    (f"!!python/object:os.system {CLEAR}", "not valid YAML"),
    (f"\x00{CLEAR}", "not valid YAML"),
    (f"default_policy: {{allow_localhost_without_auth: {CLEAR}}}", "must be true or false"),
    (f"projects: {{a: {{keys: [{CLEAR}]}}, b: {{keys: [{CLEAR}]}}}}", "'a' and 'b'"),
    ("[" * 1_000, "not valid YAML"),
    (f"projects:\n  a: {{keys: [{CLEAR}]}}\n  a: {{keys: [k]}}", "second time at line 3"),
    (f"projects: {{}}\nprojects: {{a: {{keys: [{CLEAR}]}}}}", "second time at line 2"),
    (f"projects:\n  a:\n    keys: [{CLEAR}]\n    keys: [k]", "second time at line 4"),
    (f"more:\n- {{{CLEAR}: 1,\n   {CLEAR}: 2}}", "second time at line 3"),
    (f"more: {{1: {CLEAR},\n 0x1: b}}", "second time at line 2"),
    (f"more: &a {{b: *a, {CLEAR}: 1,\n {CLEAR}: 2}}", "second time at line 2"),
    (f"a: &a {{no: {{keys: [{CLEAR}]}}}}\nprojects: {{<<: *a}}", "must be text, in quotes"),
    (f"!!map {CLEAR}: 1", "not valid YAML"),
]


def _whole_story(error: BaseException) -> str:
    """Everything a log could show of an error: its text, its causes and their contexts."""
    story = ""
    seen: BaseException | None = error
    while seen is not None:
        story += repr(seen) + str(seen)
        seen = None if seen.__suppress_context__ else (seen.__cause__ or seen.__context__)
    return story


@pytest.mark.parametrize(("text", "message"), MALFORMED)
@pytest.mark.parametrize("use", [load, KeyStore, lambda path: add_key(path, "dev")])
def test_malformed_file_is_named_by_place_and_never_quoted(path, text, message, use: Callable):
    path.write_text(text)
    with pytest.raises(KeysFileError) as caught:
        use(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert CLEAR not in _whole_story(caught.value)
    assert path.read_text() == text


def test_expired_rights_and_ids_are_checked(path):
    digest = hashlib.sha256(b"k").hexdigest()
    for more in ("expires_at: soon", "expires_at: [1]", "rights: operator", "rights: [A B]"):
        path.write_text(f"projects: {{d: {{keys: [{{id: a, sha256: '{digest}', {more}}}]}}}}")
        with pytest.raises(KeysFileError, match=r"projects\.d\.keys\[0\]\."):
            load(path)
    other = hashlib.sha256(b"l").hexdigest()
    path.write_text(
        f"projects: {{d: {{keys: [{{id: a, sha256: '{digest}'}}, {{id: a, sha256: '{other}'}}]}}}}"
    )
    with pytest.raises(KeysFileError, match="same id"):
        load(path)


def test_missing_huge_and_irregular_files_are_refused(path, tmp_path):
    with pytest.raises(KeysFileError, match="No such file"):
        load(path)
    path.write_bytes(b"#" * (limits.KEYS_FILE_LEN_MAX + 1))
    with pytest.raises(KeysFileError, match="larger than"):
        load(path)
    with pytest.raises(KeysFileError, match="directory"):
        load(tmp_path)
    with pytest.raises(KeysFileError, match="No such file"):
        add_key(tmp_path / "missing" / "keys.yaml", "dev")


def test_ensure_creates_a_keyless_file_once(path):
    assert ensure(path)
    assert mode_of(path) == 0o600
    ring = load(path)
    assert ring.allow_localhost_without_auth
    assert len(ring) == 0
    path.write_text("default_policy: {allow_localhost_without_auth: false}")
    assert not ensure(path)
    assert not load(path).allow_localhost_without_auth


def test_writing_follows_a_symbolic_link_and_leaves_no_drafts(path, tmp_path):
    real = tmp_path / "real.yaml"
    real.write_text("")
    path.symlink_to(real)
    key = add_key(path, "dev")
    assert path.is_symlink()
    assert load(real).find(key, 0.0) is not None
    assert sorted(os.listdir(tmp_path)) == ["keys.yaml", "real.yaml"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(path, monkeypatch):
    add_key(path, "dev")
    before = path.read_bytes()

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeysFileError, match="No space left"):
        add_key(path, "dev")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_store_sees_changes_at_most_a_second_later(path):
    first = add_key(path, "dev")
    store = KeyStore(path)
    assert store.current(0.0).find(first, 0.0) is not None
    second = add_key(path, "dev")
    assert store.current(0.9).find(second, 0.0) is None
    assert store.current(1.0).find(second, 0.0) is not None


def test_store_reads_at_once_when_told_to(path):
    store = KeyStore(path) if ensure(path) else None
    assert store is not None
    store.current(0.0)
    key = add_key(path, "dev")
    store.reload()
    assert store.current(0.1).find(key, 0.0) is not None


def test_store_keeps_the_last_good_keys_while_the_file_is_broken_or_gone(path, caplog):
    key = add_key(path, "dev")
    good = path.read_text()
    store = KeyStore(path)
    damages = (
        lambda: path.write_text(f"{CLEAR}: ["),
        lambda: path.write_text(f"projects:\n  {CLEAR}:\n  {CLEAR}:\n"),
        path.unlink,
    )
    for now_s, damage in enumerate(damages):
        damage()
        caplog.clear()
        assert store.current(10.0 * now_s).find(key, 0.0) is not None
        (line,) = caplog.messages
        assert line.startswith(f"the keys file was not read, the keys from before stay: {path}")
        assert CLEAR not in line
    caplog.clear()
    path.write_text(good)
    assert store.current(100.0).find(key, 0.0) is not None
    assert not caplog.messages


def test_a_key_that_was_not_revoked_because_the_file_broke_is_told_in_the_log(path, caplog):
    key = add_key(path, "dev")
    store = KeyStore(path)
    path.write_text("projects: [")
    assert store.current(0.0).find(key, 0.0) is not None
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("intermute.web.keys", "WARNING")
    ]
    path.write_text("projects: {}")
    assert store.current(10.0).find(key, 0.0) is None


def test_b28_keys_are_stored_hashed_and_compared_in_constant_time(path, monkeypatch):
    key = add_key(path, "dev")
    compared = []
    compare = keys.hmac.compare_digest

    def watch(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return compare(left, right)

    monkeypatch.setattr(keys.hmac, "compare_digest", watch)
    ring = load(path)
    for presented in (key, key[:-1] + "!", "imk_0000000000_" + "x" * 43, "nothing"):
        ring.find(presented, 0.0)
    assert compared == [(32, 32)] * 4
    assert key not in repr(ring)
    assert hashlib.sha256(key.encode()).hexdigest() not in repr(ring)


def test_b28_mode_is_tightened_on_rewrite(path):
    path.write_text(f"projects: {{dev: {{keys: [{CLEAR}]}}}}")
    path.chmod(0o644)
    add_key(path, "dev")
    assert mode_of(path) == 0o600


def test_b28_a_wide_umask_does_not_widen_the_file(path):
    before = os.umask(0)
    try:
        add_key(path, "dev")
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600


def test_b28_nothing_is_logged_or_printed(path, caplog, capsys):
    with caplog.at_level(0):
        key = add_key(path, "dev")
        load(path).find(key, 0.0)
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_b28_a_key_can_be_rotated_and_revoked_while_the_server_runs(path):
    old = add_key(path, "dev")
    store = KeyStore(path)
    new = add_key(path, "dev")
    document = yaml.safe_load(path.read_text())
    document["projects"]["dev"]["keys"] = document["projects"]["dev"]["keys"][1:]
    path.write_text(yaml.safe_dump(document))
    ring = store.current(1.0)
    assert ring.find(old, 0.0) is None
    assert ring.find(new, 0.0) is not None
