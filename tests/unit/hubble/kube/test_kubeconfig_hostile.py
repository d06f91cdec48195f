"""Kubeconfigs as nobody should write them: one line with file, line, key, what was expected, what to do."""

import os
import threading
import time
from pathlib import Path
from random import Random

import pytest
import yaml

from flowwatch import userfile
from flowwatch.errors import FlowwatchError, Refused, UsageError
from flowwatch.hubble.kube import plugin as plugin_room
from flowwatch.hubble.kube.kubeconfig import at_hand, load
from tests.command import one_line
from tests.in_process import flowwatch
from tests.kubeconfigs import GOOD, PEM, SECRET, cases
from tests.material import SHARED, where_shared
from tests.unit.hubble.kube.test_kubeconfig import V1, document, plugin, write

KUBECONFIGS = sorted((SHARED / "cases/hostile/kubeconfig").glob("*.yaml"))

HEAD = """\
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
"""
SERVER = "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1'}}]\n"


def line(folder: Path, content: str | bytes) -> str:
    """What is said of it."""
    path = folder / "config"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FlowwatchError) as caught:
        load(str(path), "", {"PATH": os.environ["PATH"]})
    said = str(caught.value)
    assert "\n" not in said
    assert "\x1b" not in said
    assert SECRET not in said
    assert str(path) in said, "it names the file"
    return said


USERS = (
    ("exec: {args: 5}", "users[0].user.exec.args: a list is wanted, not a number"),
    ("exec: {args: [5]}", "users[0].user.exec.args[0]: a string is wanted, not a number"),
    ("exec: {args: [[a]]}", "users[0].user.exec.args[0]: a string is wanted, not a list"),
    ("exec: {env: 5}", "users[0].user.exec.env: a list is wanted, not a number"),
    ("exec: {env: [5]}", "users[0].user.exec.env[0]: a mapping is wanted, not a number"),
    ("exec: {env: {A: b}}", "users[0].user.exec.env: a list is wanted, not a mapping"),
    (r'exec: {env: [{name: "a\0b"}]}', "users[0].user.exec.env[0].name: a text without NUL"),
    (r'exec: {env: [{name: a, value: "a\0b"}]}', "users[0].user.exec.env[0].value: a text without"),
    (r'exec: {command: "a\0b"}', "users[0].user.exec.command: a text without NUL is wanted"),
    (r'exec: {args: ["a\0b"]}', "users[0].user.exec.args[0]: a text without NUL is wanted"),
    ("exec: echo", "users[0].user.exec: a mapping is wanted, not a string"),
    ("exec: []", "users[0].user.exec: a mapping is wanted, not a list"),
    (f"exec: {{apiVersion: {V1}}}", "users[0].user.exec.command: the name of a program"),
    ("exec: {command: x, apiVersion: v9}", f"users[0].user.exec.apiVersion: {V1} or"),
    (
        f"exec: {{command: x, apiVersion: {V1}, interactiveMode: No}}",
        "users[0].user.exec.interactiveMode: a string is wanted, not a boolean",
    ),
    (
        f"exec: {{command: x, apiVersion: {V1}, interactiveMode: Often}}",
        "users[0].user.exec.interactiveMode: one of Never, IfAvailable, Always is wanted",
    ),
    (
        f"exec: {{command: x, apiVersion: {V1}, env: [{{name: 'a=b'}}]}}",
        "users[0].user.exec.env[0].name: the name of a variable is wanted",
    ),
    ("token: 123456", "users[0].user.token: a string is wanted, not a number"),
    ("token: [a]", "users[0].user.token: a string is wanted, not a list"),
    ("token: true", "users[0].user.token: a string is wanted, not a boolean"),
    (r'token: "a\nb"', "users[0].user: the credentials of user u hold characters that none may"),
    ("token: é", "users[0].user: the credentials of user u hold characters that none may"),
    ("token: a, username: b", "users[0].user.token: user u has a token and a username"),
    ("username: 5", "users[0].user.username: a string is wanted, not a number"),
    ("password: {a: b}", "users[0].user.password: a string is wanted, not a mapping"),
    ("as-groups: ops", "users[0].user.as-groups: a list is wanted, not a string"),
    ("as-groups: [ops]", "users[0].user.as: as-uid, as-groups and as-user-extra want as"),
    ("as: a, as-user-extra: [x]", "users[0].user.as-user-extra: a mapping is wanted, not a list"),
    ("tokenFile: '~nosuchuser/x'", "users[0].user.tokenFile: "),
    ("tokenFile: /", "users[0].user.tokenFile: /: is a directory"),
    ("tokenFile: /dev/zero", "users[0].user.tokenFile: /dev/zero: it is larger than 4 mib"),
    (r'tokenFile: "a\0b"', "users[0].user.tokenFile: a text without NUL is wanted"),
    ("client-certificate: /nonexistent", "users[0].user.client-certificate: /nonexistent: no such"),
    ("client-certificate-data: '!!'", "users[0].user.client-certificate-data: base64 is wanted"),
    ("client-key-data: QUJD", "users[0].user.client-key: user u has a certificate or a key, but"),
    ("auth-provider: gcp", "users[0].user.auth-provider: a mapping is wanted, not a string"),
    ("auth-provider: {config: {id-token: 5}}", "auth-provider.config.id-token: a string is wanted"),
)


@pytest.mark.parametrize(("user", "words"), USERS, ids=[user for user, _ in USERS])
def test_a_user(tmp_path: Path, user: str, words: str) -> None:
    said = line(tmp_path, f"{HEAD}{SERVER}users: [{{name: u, user: {{{user}}}}}]\n")
    assert "can't be used: line 6: " in said
    assert words in said
    assert said.endswith(": mend it, or give another with --kubeconfig")


CLUSTERS = (
    ("server: 5", "clusters[0].cluster.server: a string is wanted, not a number"),
    ("server: ''", "clusters[0].cluster.server: the cluster has no server"),
    ("server: 'https://h:99999'", "clusters[0].cluster.server: it is no URL (as https://host:port"),
    ("server: 'https://h:x'", "clusters[0].cluster.server: it is no URL"),
    ("server: 'https://h:0'", "clusters[0].cluster.server: no server has port 0"),
    (r'server: "https://h\n:1"', "clusters[0].cluster.server: no space or control character"),
    ("server: 'https://h /x'", "clusters[0].cluster.server: no space or control character"),
    ("server: 'https://[/x'", "clusters[0].cluster.server: it is no URL"),
    ("server: 'https://℀/x'", "clusters[0].cluster.server: it is no URL"),
    ("server: 'h:6443'", "clusters[0].cluster.server: it must begin with https:// or http://"),
    ("server: 'ftp://h'", "clusters[0].cluster.server: it must begin with https:// or http://"),
    ("server: 'https://'", "clusters[0].cluster.server: it names no host"),
    ("server: 'https://a..b'", "clusters[0].cluster.server: its host is neither a name nor"),
    ("server: 'https://h?a=b'", "clusters[0].cluster.server: it must end with its path"),
    (f"server: 'https://u:{SECRET}@h:99999'", "clusters[0].cluster.server: it is no URL"),
    ("server: 'https://h', proxy-url: 'ftp://p'", "proxy-url: it must begin with http:// or https"),
    ("server: 'https://h', proxy-url: 'p:1'", "clusters[0].cluster.proxy-url: it must begin with"),
    (f"server: 'https://h', proxy-url: 'socks5://u:{SECRET}@p:99999'", "proxy-url: it is no URL"),
    ("server: 'https://h', proxy-url: [p]", "clusters[0].cluster.proxy-url: a string is wanted"),
    ("server: 'https://h', tls-server-name: '.x'", "tls-server-name: the name of a host is wanted"),
    (
        "server: 'https://h', insecure-skip-tls-verify: 'true'",
        "true or false is wanted, not a string",
    ),
    ("server: 'https://h', certificate-authority-data: '!!'", "authority-data: base64 is wanted"),
    ("server: 'https://h', certificate-authority: '~nosuchuser/x'", "~nosuchuser/x: no such file"),
    ("server: 'https://h', certificate-authority: /", "certificate-authority: /: is a directory"),
)


@pytest.mark.parametrize(("cluster", "words"), CLUSTERS, ids=[cluster for cluster, _ in CLUSTERS])
def test_a_cluster(tmp_path: Path, cluster: str, words: str) -> None:
    said = line(
        tmp_path, f"{HEAD}clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u}}]\n"
    )
    assert "can't be used: line 5: " in said
    assert words in said


WHOLE = (
    ("users: {u: {token: a}}", "line 6: users: a list is wanted, not a mapping"),
    ("users: [a]", "line 6: users[0]: a mapping is wanted, not a string"),
    ("users: [{name: 5}]", "line 6: users[0].name: a string is wanted, not a number"),
    ("users: [{name: u}, {name: u}]", "line 6: users[1].name: the name is there twice, first in li"),
    ("users: [{name: u, user: u}]", "line 6: users[0].user: a mapping is wanted, not a string"),
    # Also in an entry that nobody asked for, as kubectl.
    ("users: [{name: u}, {name: x, user: {token: 5}}]", "line 6: users[1].user.token: a string is"),
    ("users: []", 'context c names the user "u", which kubeconfig '),
    ("apiVersion: v2", "line 6: apiVersion: v1 is wanted"),
    ("apiVersion: 1", "line 6: apiVersion: a string is wanted, not a number"),
    ("kind: Pod", "line 6: kind: Config is wanted"),
    ("current-context: 5", "line 6: current-context: a string is wanted, not a number"),
    ("contexts: [{name: c}]", "context c of kubeconfig "),
    ("contexts: [{name: c, context: {cluster: 7}}]", "contexts[0].context.cluster: a string is want"),
    ("contexts: 5", "line 6: contexts: a list is wanted, not a number"),
    # YAML that isn't, and YAML that would never end
    ("users: [", "line 7: it is not YAML: "),
    ("\tusers: a", "line 6: it is not YAML: found a tab: indent with spaces"),
    (f"users: *{SECRET}", "line 6: it is not YAML: alias *… stands for nothing"),
    (f"users: !{SECRET} x", "line 6: users: a list is wanted, not a value tagged …"),
    (f"users: [{{name: u, user: {{token: {SECRET}: x}}}}]", "line 6: it is not YAML: "),
    (f"users: '{SECRET}", "it is not YAML: "),
    (f"users: {{{SECRET}: [a}}", "line 6: it is not YAML: "),
    ("users: " + "[" * 200_000, "line 6: nested too deeply"),
    ("users: &a [*a]", "line 6: an alias inside what it stands for"),
    ("a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(25)
    ), "aliases repeat nearly all of its values"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WHOLE, ids=[text[:40] for text, _ in WHOLE])
def test_the_file_as_a_whole(tmp_path: Path, text: str, words: str) -> None:
    head = f"{HEAD}{SERVER}"
    for name in ("apiVersion", "kind", "current-context", "contexts"):
        if text.startswith(f"{name}:"):
            head = "\n".join("" if one.startswith(f"{name}:") else one for one in head.split("\n"))
    assert words in line(tmp_path, f"{head}{text}\n")


BYTES = (
    (b"\xff\xfe\x00", "it is not text in UTF-8"),
    (b"a: \xe9\n", "it is not text in UTF-8"),
    (b"a: \x00\n", "line 1: it is not YAML: "),
    (b"#" * (5 << 20), "it is larger than 4 mib"),
    (b"- a\n", "line 1: it has no clusters, users and contexts"),
    (b"a word", "line 1: it has no clusters, users and contexts"),
    (b"\x89PNG\r\n\x1a\n", "it is not text in UTF-8"),
)


@pytest.mark.parametrize(("content", "words"), BYTES, ids=[words for _, words in BYTES])
def test_bytes(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in line(tmp_path, content)


def test_what_kubectl_takes_is_taken(tmp_path: Path) -> None:
    """Byte order marks, UTF-16, a key twice, merge keys, more documents, keys that nobody knows."""
    good = f"{HEAD}{SERVER}users: [{{name: u, user: {{token: abc}}}}]\n"
    merged = good.replace("{token: abc}", "{<<: &a {token: abc}, other: 1}")
    for content in (
        b"\xef\xbb\xbf" + good.encode(),
        good.encode("utf-16"),
        good.replace("token: abc", "token: x, token: abc").encode(),
        merged.encode(),
        f"{good}---\n[ not even YAML".encode(),
        f"{good}5: a\ntrue: b\nmine: {{a: b}}\n".encode(),
        yaml.safe_dump(yaml.safe_load(good), default_flow_style=True).encode(),
    ):
        path = tmp_path / "config"
        path.write_bytes(content)
        assert load(str(path)).headers == (("Authorization", "Bearer abc"),)


def test_no_credentials_go_to_a_server_without_tls(tmp_path: Path) -> None:
    """As with kubectl, and no plugin is asked for any."""
    content = plugin(tmp_path, "open('asked', 'w')")
    content["clusters"] = [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]
    assert load(write(tmp_path, content)).headers == ()
    content["clusters"] = [{"name": "c", "cluster": {"server": "http://me:pw@127.0.0.1:1"}}]
    found = load(write(tmp_path, content))
    assert found.server == "http://127.0.0.1:1"
    assert found.headers == (("Authorization", "Basic bWU6cHc="),), "but what the URL itself says"


def test_impersonation(tmp_path: Path) -> None:
    user = {"token": "t", "as": "a", "as-uid": "7", "as-groups": ["x", "z"]}
    extra = {"as-user-extra": {"example.com/Scope": ["one", "two"]}}
    assert load(write(tmp_path, document({**user, **extra}))).headers == (
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "a"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "x"),
        ("Impersonate-Group", "z"),
        ("Impersonate-Extra-example.com%2Fscope", "one"),
        ("Impersonate-Extra-example.com%2Fscope", "two"),
    )


# What a path may lead to ----------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = Path(write(tmp_path, document()))
    path.chmod(0)
    assert at_hand(str(path))
    with pytest.raises(UsageError, match="config can't be used: permission denied"):
        load(str(path))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, words in (
        (str(tmp_path), "is a directory"),
        (str(loop), "too many levels of symbolic links"),
        (f"{tmp_path}/{'x' * 300}", "file name too long"),
        (str(write(tmp_path, "")) + "/below", "is not there"),
        ("a\0b", "is not there"),
        ("/dev/null", "is not there"),
    ):
        with pytest.raises(UsageError, match=words):
            load(path)
        assert "\0" not in path or not at_hand(path)


def test_a_list_of_files_with_bad_members(tmp_path: Path) -> None:
    """Those that are absent are none; the others are told by name."""
    good = write(tmp_path, document({"token": "t"}))
    bad = write(tmp_path, "users: 5", "bad")

    def environ(*members: str) -> dict[str, str]:
        return {"KUBECONFIG": os.pathsep.join(members)}

    absent = str(tmp_path / "absent")
    assert load("", "", environ("", absent, good, absent)).context == "here"
    assert not at_hand("", environ(absent, "/dev/null"))
    with pytest.raises(UsageError, match=r"/bad can't be used: line 1: users: a list is wanted"):
        load("", "", environ(good, bad))
    with pytest.raises(UsageError, match=f"kubeconfig {tmp_path} can't be used: is a directory"):
        load("", "", environ(str(tmp_path), good))


def test_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--kubeconfig <(pass show kube)`; one into which nobody writes is not waited for."""
    monkeypatch.setattr(userfile, "PIPE_SECONDS", 0.5)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert at_hand(str(path))
    with pytest.raises(UsageError, match=r"its end did not come in 0\.5 s"):
        load(str(path))
    monkeypatch.setattr(userfile, "PIPE_SECONDS", 20.0)
    read, write_end = os.pipe()

    def bring() -> None:
        time.sleep(0.2)
        with open(write_end, "w") as stream:
            yaml.safe_dump(document({"token": "t"}), stream)

    writer = threading.Thread(target=bring)
    writer.start()
    found = load(f"/dev/fd/{read}")
    writer.join()
    os.close(read)
    assert found.headers == (("Authorization", "Bearer t"),)


# Plugins ------------------------------------------------------------------------------------------

DEEP = "print('[' * 200_000)"
ANSWERS = (
    (DEEP, "gave no credentials that can be read: it is no JSON"),
    ("print('{\"status\": ' * 50_000)", "it is no JSON"),
    ("print('token: abc')", "it is no JSON"),
    (r"sys.stdout.buffer.write(b'\xff')", "it is no JSON"),
    ("print('[]')", "it is no JSON object"),
    ("print('{\"status\": 5}')", "it has no status"),
    ('print(\'{"status": {"token": 5}}\')', "status.token is no text"),
    ('print(\'{"status": {"token": ["a"]}}\')', "status.token is no text"),
    ('print(\'{"status": {"clientKeyData": "a"}}\')', "a certificate or a key, but not both"),
    ("print('{\"status\": {}}')", "neither a token nor a certificate and its key"),
    (
        'print(\'{"status": {"token": "abc", "expirationTimestamp": "soon"}}\')',
        "status.expirationTimestamp is no time",
    ),
    (
        'print(\'{"status": {"token": "abc", "expirationTimestamp": 5}}\')',
        "status.expirationTimestamp is no text",
    ),
    (
        'print(\'{"apiVersion": "client.authentication.k8s.io/v9", "status": {"token": "a"}}\')',
        f"its apiVersion is not {V1}",
    ),
    ('print(\'{"kind": "Pod", "status": {"token": "a"}}\')', "its kind is not ExecCredential"),
    ("sys.stdout.write('x' * (5 << 20))", "can't be run: its answer is larger than 1 MiB"),
    ("os.kill(os.getpid(), 11)", "failed with signal SIGSEGV"),
    (
        f"sys.exit('\\x1b[2J' + 'the token={SECRET} has expired')",
        r"failed with exit code 1: \x1b[2Jthe token=*** has expired",
    ),
    (f"sys.exit('password: {SECRET}')", "failed with exit code 1: password: ***"),
    (f"sys.exit('refused: Bearer {SECRET}')", "failed with exit code 1: refused: Bearer ***"),
    (f"sys.exit('https://u:{SECRET}@h failed')", "failed with exit code 1: https://***@h failed"),
)


@pytest.mark.parametrize(("script", "words"), ANSWERS, ids=[words for _, words in ANSWERS])
def test_a_plugins_answer(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        load(write(tmp_path, plugin(tmp_path, script)))
    said = str(caught.value)
    assert words in said
    assert "exec plugin ./plugin of kubeconfig" in said
    assert SECRET not in said
    assert "\n" not in said


def test_what_a_plugin_was_given_is_not_repeated(tmp_path: Path) -> None:
    """Its arguments and variables stand in the kubeconfig, and are secret by their names."""
    script = "sys.exit(f\"no: {sys.argv[2]}, {sys.argv[3]}, {os.environ['API_KEY']}\")"
    env = [{"name": "API_KEY", "value": f"{SECRET}3"}]
    content = plugin(tmp_path, script, args=["--token", f"{SECRET}1", f"--pass={SECRET}2"], env=env)
    with pytest.raises(Refused, match=r"exit code 1: no: \*\*\*, --pass=\*\*\*, \*\*\*: log in"):
        load(write(tmp_path, content))


ENDLESS: tuple[tuple[str, str], ...] = (
    ("import itertools\nfor _ in itertools.count(): sys.stderr.write('x' * 65536)", "within 1 s"),
    ("os.close(1); os.close(2); time.sleep(100)", "within 1 s"),
    ("import itertools\nfor _ in itertools.count(): sys.stdout.write('x' * 65536)", "1 MiB"),
    ("if os.fork(): sys.exit()\ntime.sleep(100)", "within 1 s"),
)


@pytest.mark.parametrize(("script", "words"), ENDLESS, ids=["errors", "closed", "output", "left"])
def test_a_plugin_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(plugin_room, "PLUGIN_SECONDS", 1.0)
    with pytest.raises(Refused, match=words):
        load(write(tmp_path, plugin(tmp_path, script)))


def test_a_plugin_is_told_the_cluster_when_it_wants(tmp_path: Path) -> None:
    script = """
cluster = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"]["cluster"]
print(json.dumps({"status": {"token": cluster["server"] + cluster["tls-server-name"]}}))"""
    content = plugin(tmp_path, script, provideClusterInfo=True)
    cluster = {"server": "https://h:1", "tls-server-name": "x"}
    content["clusters"] = [{"name": "c", "cluster": cluster}]
    found = load(write(tmp_path, content))
    assert found.headers == (("Authorization", "Bearer https://h:1x"),)


NO_PROGRAMS: tuple[tuple[bytes | None, str], ...] = (
    (None, "can't be run: Permission denied"),
    (b"\0\0", "can't be run: Exec format error"),
    (b"#!/nonexistent\n", "can't be run: what its first line names is not there"),
)
"""Its content, or a folder in its place."""


@pytest.mark.parametrize(("content", "words"), NO_PROGRAMS, ids=[words for _, words in NO_PROGRAMS])
def test_what_is_no_program(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "odd"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
        path.chmod(0o755)
    with pytest.raises(Refused, match=words):
        load(write(tmp_path, document({"exec": {"apiVersion": V1, "command": "./odd"}})))


# Through the verbs --------------------------------------------------------------------------------

VERBS = (
    ("summary", 2),
    ("observe", 2),
    ("export", 2),
    ("status", 2),
    ("list nodes", 2),
    ("doctor", 1),
    ("audit --policies-from-cluster", 2),
)


@pytest.mark.parametrize(("verb", "code"), VERBS, ids=[verb for verb, _ in VERBS])
def test_every_verb_says_it_in_one_line(tmp_path: Path, verb: str, code: int) -> None:
    text = f"{HEAD}{SERVER}users: [{{name: u, user: {{exec: {{args: 5}}, token: {SECRET}}}}}]\n"
    config = write(tmp_path, text)
    done = flowwatch(*verb.split(), "-P", "--debug", "--kubeconfig", config)
    said = one_line(done) if verb != "doctor" else done.stdout
    assert "users[0].user.exec.args: a list is wanted, not a number" in said
    assert "mend it, or give another with --kubeconfig" in said
    assert done.returncode == code
    assert SECRET not in done.stdout + done.stderr


@where_shared(
    "cases/hostile/kubeconfig", "path", [pytest.param(one, id=one.stem) for one in KUBECONFIGS]
)
def test_those_that_ended_badly_once(path: Path) -> None:
    for verb in ("summary", "doctor"):
        done = flowwatch(verb, "-P", "--request-timeout", "2s", "--kubeconfig", path)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "SECRETTOK123" not in done.stdout + done.stderr
        if verb == "summary":
            one_line(done)


# Many ---------------------------------------------------------------------------------------------


def test_one_thing_odd(tmp_path: Path) -> None:
    """A sample of what `make fuzz` plays: an access, or one line that holds no secret."""
    (tmp_path / "ca.pem").write_bytes(PEM)
    (tmp_path / "token").write_text(SECRET)
    path = tmp_path / "config"
    taken = 0
    for case in cases(Random(2026), 400):
        path.write_bytes(case.content)
        try:
            said = repr(load(str(path), "", {"PATH": "/bin:/usr/bin"}))
            taken += 1
        except FlowwatchError as error:
            said = str(error)
        assert SECRET not in said, case.name
        assert not {"\n", "\x1b", "\0"} & set(said), case.name
        assert len(said) < 5000, case.name
    assert taken > 20, "some make no difference"


def test_those_without_anything_odd(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(PEM)
    (tmp_path / "token").write_text(SECRET)
    for whole in GOOD:
        if "exec" not in whole["users"][0]["user"]:
            assert load(write(tmp_path, whole)).context == "here"
