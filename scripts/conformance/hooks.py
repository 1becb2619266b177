"""What schemathesis cannot read in the OpenAPI document.

Valid requests get the ids of what `run.py` has registered, so that they reach what lies behind the first look-up. Four relations
between values cannot be stated in OpenAPI, and are made true in valid requests here:

- `checkExistence` requires other parameters for each `type`.
- A tenant in a dependency is one of the caller's own domain.
- The lifetime of a token is 15 minutes to 24 hours.
- A websocket cannot be opened by a client that knows only HTTP, so its handshakes always lack a header.

A finding "valid data was rejected" is dropped if the answer says that something does not exist, exists already, or is not allowed for
this caller; in the cases of `RELATIONS`; for schemas with one id; and if the URI ends in a character that the document excludes. A
finding about a path with empty segments or steps is dropped, because the request is for another operation. So is the error of
`readSyncerHealth`, which has no other answer. Nothing else is dropped, and `run.py` prints what was and why.
"""

import atexit
import collections
import json
import os
import urllib.parse
import zlib

import schemathesis
from hypothesis import strategies

SEED = json.loads(os.environ["CONFORMANCE_SEED"])

# Error codes about things that are there or not.
ABOUT_THINGS = {
    "400010",  # the service exists under another id
    "400012",  # no such service
    "400013",  # the service has instances
    "400016",  # no such schema
    "400017",  # no such instance
    "400018",  # no such tag
    "400023",  # the service has consumers
    "400026",  # no such version
    "400100",  # more than the quota
    "400200",  # no such account
    "400201",  # no such role
    "400202",  # a role of the account does not exist
    "400205",  # an account has the role
    "400206",  # the new password is the current one
    "401202",  # no account has this name and password
    "401207",  # the current password is another one
    "403001",  # for example instances of the registry's own service
    "403202",  # a built-in account
    "403203",  # a built-in role
    "403204",  # the caller's own account
    "409200",  # the account exists
    "409201",  # the role exists
}

# What relates two values of a request, or cannot be stated in JSON Schema: the begin of the answer's `detail`, or a part of it.
RELATIONS = (
    "names the same consumer as",  # two entries of one request
    "the batch find names",  # both lists of a request together
    "field 'Account.CurrentPassword'",  # demanded only of the account itself
    "not support kind[",  # no kind of policy exists
    "is too large: it has",  # the size of an instance or of properties in bytes
    "request body too large",
    "is no cursor of this list",  # what an answer gave before
    "wait: too long",  # the sum of the parts of a duration
    "wait: a drain waits for",
    "invalid type: floating point",  # `30.0` is the integer 30 for JSON Schema, and no integer for the original server
)

# The last characters of a URI that the server refuses.
BAD_ENDS = tuple(";&?+@")

# These would take away what the other operations need.
DESTROYERS = {"unregisterService", "unregisterServices", "unregisterInstance", "deleteAccount", "deleteRole", "changePassword"}

# The consumer of the instance is never told, so a drain waits for as long as it may: by default longer than the client.
SHORT_WAIT = "100ms"

PASSWORDS = strategies.sampled_from(["Tester#Pwd1", "Other#Pwd2", "aB3$" * 8, "xX0~xX0~"])
schemathesis.openapi.format("password", PASSWORDS)


def chosen(case, name):
    """Whether this request gets a known value for a parameter: about half of the requests do, and the same ones in each run."""
    parts = [name, str(case.path_parameters), str(case.query), str(case.body)]
    return zlib.crc32("\0".join(parts).encode(errors="replace")) % 2 == 0


def is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def map_case(context, case):
    operation = case.operation.definition.raw["operationId"]
    if operation in ("watch", "beatByWebsocket") and case.headers:
        case.headers.pop("Upgrade", None)
    if not is_positive(case):
        return case
    if operation not in DESTROYERS:
        replace(case.path_parameters, SEED["path"], case)
    replace(case.query, SEED["query"], case)
    replace(case.headers, SEED["headers"], case)
    if operation == "checkExistence" and case.query:
        for name in ("appId", "serviceName", "version", "serviceId", "schemaId"):
            case.query.setdefault(name, SEED["existence"][name])
    if operation == "logIn" and isinstance(case.body, dict) and case.body.get("tokenExpirationTime"):
        case.body["tokenExpirationTime"] = "1h30m"
    if operation in ("addDependencies", "replaceDependencies"):
        own_domain(case)
    if operation == "drainInstance" and case.path_parameters.get("instanceId") == SEED["path"]["instanceId"]:
        case.query = {**(case.query or {}), "wait": SHORT_WAIT}
    return case


def replace(values, known, case):
    for name, value in known.items():
        if values and name in values and chosen(case, name):
            values[name] = value


def own_domain(case):
    domain = (case.headers or {}).get("X-Domain-Name") or "default"
    for entry in (case.body or {}).get("dependencies") or []:
        for key in [entry.get("consumer"), *(entry.get("providers") or [])]:
            if key and key.get("tenant"):
                key["tenant"] = domain + "/" + key["tenant"].split("/")[1]


def is_another_path(response):
    """Whether the path has empty segments or steps. They are removed (RFC 3986), and what is left is the path of another operation."""
    path = urllib.parse.urlsplit(response.request.url).path
    return any(segment in ("", ".", "..") for segment in path.split("/")[1:])


def has_double_ids(case):
    """Whether schemas with one id are sent, which JSON Schema cannot forbid."""
    schemas = case.body.get("schemas") if isinstance(case.body, dict) else None
    ids = [schema.get("schemaId") for schema in schemas or [] if isinstance(schema, dict)]
    return len(ids) != len(set(ids))


def why_dropped(failure, case, response):
    """Why a finding does not count, or None."""
    if is_another_path(response):
        return "the path is that of another operation"
    operation = case.operation.definition.raw["operationId"]
    if operation == "readSyncerHealth" and type(failure).__name__ == "ServerError":
        # As the original: there is no syncer.
        return "there is no syncer" if b"this server has no syncer" in response.content else None
    if type(failure).__name__ != "RejectedPositiveData":
        return None
    if operation in ("watch", "beatByWebsocket"):
        return "no handshake of a websocket"
    text = response.content.decode(errors="replace")
    if response.status_code == 400 and text.startswith("Invalid Request URI"):
        return "the end of the URI" if response.request.url.endswith(BAD_ENDS) else None
    try:
        error = json.loads(text)
    except ValueError:
        return None
    if error.get("errorCode") in ABOUT_THINGS:
        return f"{error['errorCode']} {error.get('errorMessage')}"
    if operation == "replaceSchemas" and has_double_ids(case):
        return "schemas with one id"
    return next((f"detail: {part}" for part in RELATIONS if part in error.get("detail", "")), None)


DROPPED = collections.Counter()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    why = why_dropped(failure, case, response)
    DROPPED.update([why] if why else [])
    return why is None


@atexit.register
def write_dropped():
    if path := os.environ.get("CONFORMANCE_DROPPED"):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(DROPPED.most_common(), file)
