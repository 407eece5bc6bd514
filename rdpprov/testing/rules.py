"""The rules of the provider API that `rdpprov.testing.check_provider` checks: one table, each with where it is from.

A rule's name is for ever: reports, tests and people refer to it. Microsoft's pages are named as in their own URLs
(``nf-wtsprotocol-...``); where they are silent the source is the page of this package that decides.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen
class Rule:
    """One rule."""

    name: str
    """A few words with hyphens."""
    sentence: str
    """What a provider has to do."""
    source: str
    """Where that is written."""
    provoked: str
    """What the kit does to see whether it does it."""
    advice: str
    """What to change in a provider that does not."""
    needs: str = ""
    """What has to be there for the rule to mean anything; empty: nothing."""


_CONNECTION = "nf-wtsprotocol-iwrdsprotocolconnection-"
_LISTENER = "nf-wtsprotocol-iwrdsprotocollistener-"
_MANAGER = "nf-wtsprotocol-iwrdsprotocolmanager-"
_LICENSE = "nf-wtsprotocol-iwrdsprotocollicenseconnection-"
_CALLBACK = "nf-wtsprotocol-iwrdsprotocolconnectioncallback-"
_NO_RDS_CALLS = "nn-wtsprotocol-iwrdsprotocolconnection, Remarks"
_SOCKET = "a listener that says its address (bound_addresses)"
_USE = "a client with `use`"
_ROUNDS = "a license connection with SendClientLicense and RequestClientLicense, and a client with `license_answers`"
_SHADOW = "a provider with a shadow connection"

RULES: tuple[Rule, ...] = (
    # The classes
    Rule(
        "signatures",
        "Every class has all methods of its interface, `async def`, callable as the service calls them.",
        "rdpprov.api; rdpprov.rcm.loader",
        "the classes of manager, listener, connection, license connection and redirector are looked at as they come",
        "write the methods that are named, with the parameters of the base class",
    ),
    Rule(
        "manager-needs-no-arguments",
        "The service makes the manager by itself, without arguments.",
        "nn-wtsprotocol-iwrdsprotocolmanager: CoCreateInstance of LoadableProtocol_Object",
        "Manager()",
        "give __init__ no parameters without default; what a listener needs is in settings.listener_options(name)",
    ),
    Rule(
        "failures-are-hresults",
        "A method that fails raises HResultError; what it does not implement is NotImplementedByProvider (E_NOTIMPL). "
        "Any other exception is taken for a mistake, and ends the connection.",
        "rdpprov.api.ProtocolConnection; [provider_api 14.1, 14.2]",
        "every call of the kit",
        "catch what can go wrong outside (OSError, trio.BrokenResourceError) and raise HResultError with a reason",
    ),
    Rule(
        "answers-have-their-types",
        "An answer has the type that the interface says.",
        "rdpprov.api",
        "every call of the kit that has an answer",
        "return what the base class's annotation says",
    ),
    Rule(
        "calls-return",
        "A call that wants an answer returns, whatever the client does.",
        "rdpprov.rcm.configuration.Limits.call",
        "every call of the kit; each has a time limit",
        "answer from what is known already; never wait in a method for something that the service has yet to do, "
        "such as taking OnReady or the next call",
    ),
    Rule(
        "notifications-return-at-once",
        "NotifySessionId, ConnectNotify, NotifyCommandProcessCreated, LogonNotify, PreDisconnect, DisconnectNotify and "
        "the manager's notifications return at once.",
        f"{_CONNECTION}notifysessionid, -connectnotify, -logonnotify, -predisconnect, -disconnectnotify, Remarks",
        "every notification has a time limit",
        "note what you are told, wake a task of your own, and return",
    ),
    Rule(
        "event-loop-not-blocked",
        "No code of the provider holds the event loop.",
        "rdpprov.rcm.watchdog: one loop serves all connections",
        "a thread looks at the loop all the time",
        "wait with `await`; give long computations and blocking functions to trio.to_thread.run_sync",
    ),
    Rule(
        "no-callback-inside-a-call",
        "Inside a method that the service called, nothing of the service is called: not OnReady, BrokenConnection, "
        "StopScreenUpdates, RedrawWindow; nor in a nursery that the method waits for.",
        f"{_NO_RDS_CALLS}; {_CALLBACK}stopscreenupdates; {_CALLBACK}redrawwindow",
        "every callback is compared with the calls that are open, in its own task and in those that wait for it",
        "let a task of the provider's own make the callback, and do not wait for it",
    ),
    # Start and stop
    Rule(
        "starts",
        "Initialize, CreateListener, StartListen succeed, in this order.",
        "Start Sequence figure; nf-wtsprotocol-iwrdsprotocollistener-startlisten",
        "a start with the options that the check was given",
        "see what was raised; pass missing options with `--option key=value`",
    ),
    Rule(
        "start-listen-says-started",
        "start_listen calls task_status.started() when clients can connect, and not by returning.",
        "rdpprov.api.ProtocolListener.start_listen",
        "start_listen is run as trio.Nursery.start runs a task",
        "call task_status.started() once, after binding, then stay until stop_listen and the last Close",
    ),
    Rule(
        "started-means-listening",
        "After started() a client connects at once.",
        "rdpprov.api.ProtocolListener.start_listen",
        "a TCP connection to each of bound_addresses, right after started()",
        "bind and listen before started(); set bound_addresses before it, too: pairs of host and port",
        _SOCKET,
    ),
    Rule(
        "start-listen-stays",
        "start_listen is the home of the listener's tasks: it goes on until stop_listen, whatever clients do.",
        "rdpprov.api.ProtocolListener.start_listen",
        "its task is watched all the time",
        "catch what one client's task may raise where that client is served; let nothing out of the nursery",
    ),
    Rule(
        "unknown-settings-level-is-answered",
        "GetSettings answers a level that it does not know: with settings, or an HRESULT.",
        f"{_LISTENER}getsettings; ne-wtsdefs-wrds_listener_setting_level",
        "GetSettings for LEVEL_1, INVALID and a number that no version has",
        "raise HResultError(..., E_INVALIDARG) for what is not LEVEL_1",
    ),
    Rule(
        "manager-takes-any-state",
        "NotifyServiceStateChange takes every state, with either half `no change`.",
        f"{_MANAGER}notifyservicestatechange; ns-wtsdefs-wts_service_state",
        "starting, draining, not draining, stopping, and nothing at all",
        "look at what has changed; ignore NONE",
    ),
    Rule(
        "manager-takes-any-session-event",
        "NotifySessionStateChange takes any event number.",
        f"{_MANAGER}notifysessionstatechange: its list lacks events that exist",
        "events 1 to 9, 0xA, 0xB, 0xF and 999, for a session that the provider never had",
        "ignore numbers and sessions that you do not know",
    ),
    Rule(
        "manager-takes-settings-changes",
        "NotifySettingsChange comes while listeners listen, for machine, user and account.",
        f"{_MANAGER}notifysettingschange",
        "the three kinds, with policies of every status: enabled, disabled, not configured, not applicable",
        "take what concerns you, ignore the rest; only with SettingStatus.ENABLED a value counts",
    ),
    Rule(
        "settings-changes-keep-clients",
        "NotifySettingsChange comes while clients are logged on, and they stay and can be used.",
        f"{_MANAGER}notifysettingschange; rdpprov.rcm.policies",
        "policies are set and taken back while a client is logged on; then it is asked and used",
        "let new policies hold from here on; what a logged-on client loses by them, the service sees to",
    ),
    Rule(
        "stop-listen-returns",
        "StopListen returns.",
        f"{_LISTENER}stoplisten",
        "StopListen without clients, and with one",
        "cancel the accepting tasks and return; do not wait for clients",
    ),
    Rule(
        "stop-listen-stops-accepting",
        "After StopListen no client becomes a connection.",
        f"{_LISTENER}stoplisten",
        "a client tries after StopListen",
        "close the listening sockets in stop_listen, and drop clients that are half way in",
    ),
    Rule(
        "stop-listen-keeps-connections",
        "Clients that are connected stay until their Close.",
        "rdpprov.api.ProtocolListener.stop_listen",
        "StopListen while a client is logged on; then a query, and its transport is looked at",
        "cancel only what accepts; clients' tasks live in a nursery outside of it",
    ),
    Rule(
        "start-listen-ends-after-stop",
        "start_listen ends when StopListen was called and the last connection is closed.",
        "rdpprov.api.ProtocolListener.start_listen",
        "StopListen; then Close of what is connected",
        "let start_listen return then; a task that waits for ever keeps the service from stopping in time",
    ),
    Rule(
        "listener-can-be-cancelled",
        "start_listen ends when it is cancelled.",
        "rdpprov.api.ProtocolListener.start_listen",
        "it is cancelled instead of stopped, with and without a client",
        "never swallow trio.Cancelled; shield only what is short",
    ),
    Rule(
        "nothing-left-behind",
        "After Uninitialize there is no task and no socket of the provider's.",
        f"{_MANAGER}uninitialize",
        "tasks and sockets are counted before the start and after the end",
        "start tasks in start_listen's nursery; close every stream that you accept, also when its client fails",
    ),
    Rule(
        "starts-again",
        "After Uninitialize another manager of the class can be started, with the same options.",
        "Start Sequence figure: the service may be restarted",
        "start, stop, start",
        "keep state in the manager, not in module or class variables",
    ),
    Rule(
        "one-manager-many-listeners",
        "One manager makes a listener for each name; each is an object of its own, with clients of its own.",
        f"{_MANAGER}createlistener; Registering the Custom Protocol",
        "two listeners of one manager; the first is stopped, and a client comes to the second",
        "keep what belongs to a listener in the listener, not in the manager or the class",
    ),
    # Clients arrive
    Rule(
        "on-connected-comes",
        "A client becomes a connection: OnConnected.",
        "nf-wtsprotocol-iwrdsprotocollistenercallback-onconnected",
        "the check's client connects and says all that it has to",
        "call callback.on_connected(connection, settings) once the client's own data is known",
    ),
    Rule(
        "on-connected-waits-for-client-data",
        "A client that has said nothing is the listener's own affair: OnConnected comes when its data is known.",
        "rdpprov.api.ProtocolListenerCallback.on_connected",
        "a TCP connection that sends nothing",
        "read what the client says first, under a time limit of your own; then call on_connected",
        _SOCKET,
    ),
    Rule(
        "bad-clients-cost-only-themselves",
        "A client that goes half way, or sends nonsense, costs nobody else anything.",
        "rdpprov.api.ProtocolListenerCallback.on_connected; exception in a provider ends one connection",
        "clients that reset, that leave at once, that send random bytes; then a good one",
        "catch errors of a client's stream and of parsing in that client's own task",
        _SOCKET,
    ),
    Rule(
        "on-connected-arguments",
        "OnConnected brings a ProtocolConnection and ConnectionSettings.",
        "nf-wtsprotocol-iwrdsprotocollistenercallback-onconnected",
        "its arguments are looked at",
        "pass your connection object, and a ConnectionSettings of what the client asks for",
    ),
    Rule(
        "connection-object-is-fresh",
        "Every client has a connection object of its own, also one that comes back.",
        "nf-wtsprotocol-iwrdsprotocollistenercallback-onconnected",
        "several clients, one after the other and at once",
        "make a new connection object for each client",
    ),
    Rule(
        "refused-client-is-dropped",
        "When OnConnected raises, the listener drops that client, and goes on.",
        "rdpprov.api.ProtocolListenerCallback.on_connected",
        "the kit refuses a client; then it takes one",
        "catch HResultError around on_connected, and close the client's stream",
        _SOCKET,
    ),
    # OnReady
    Rule(
        "redirector-needs-no-on-ready",
        "GetLogonErrorRedirector returns before OnReady: nothing in it may wait for what comes later.",
        f"{_CALLBACK}onready; {_CONNECTION}getlogonerrorredirector",
        "it is the first call; OnConnected does not return before it is over",
        "return the redirector, or raise NotImplementedByProvider, without waiting",
    ),
    Rule(
        "on-ready-comes",
        "OnReady comes once GetLogonErrorRedirector is over; without it nothing goes on.",
        f"{_CALLBACK}onready",
        "the kit waits for it after OnConnected has returned",
        "call callback.on_ready() in the task that called on_connected, when that has returned",
    ),
    Rule(
        "on-ready-comes-once",
        "OnReady comes once for each connection.",
        "rdpprov.api.ProtocolConnectionCallback.on_ready",
        "it is counted until after Close",
        "call it in one place only; a reconnect inside the connection does not need it again",
    ),
    # The connection sequence
    Rule(
        "good-client-gets-in",
        "Nothing fails for a client that does everything right.",
        "Connection Sequence figure",
        "the whole sequence with the check's client",
        "see which call failed, and why",
    ),
    Rule(
        "monitor-data-fits",
        "GetClientMonitorData returns a count of at least 1 and the primary's number, from 0, below the count.",
        f"{_CONNECTION}getclientmonitordata; rdpprov.api.ProtocolConnection.get_client_monitor_data",
        "it is called in the sequence",
        "return (count, primary) with 0 <= primary < count",
    ),
    Rule(
        "arbitration-names-sessions",
        "SessionArbitrationEnumeration returns numbers of sessions, or raises an HRESULT, whatever its flag is.",
        f"{_CONNECTION}sessionarbitrationenumeration; [provider_api 14.1]",
        "it is called in the sequence, with single_session_per_user_enabled True and False",
        "return a sequence of int; raise NotImplementedByProvider to let the service choose",
    ),
    Rule(
        "fast-reconnect-choice-is-offered",
        "GetSessionForEnhancedFastReconnect returns a session that it is given, or None, or raises an HRESULT.",
        "nf-wtsprotocol-iwrdsenhancedfastreconnectarbitrator-getsessionforenhancedfastreconnect; "
        "rdpprov.rcm.fast_reconnect",
        "three different offers, before NotifySessionId and after IsUserAllowedToLogon",
        "choose among session_id_array only: what you remember may be gone, or another user's",
        "a connection that is an EnhancedFastReconnectArbitrator",
    ),
    Rule(
        "fast-reconnect-is-more-than-announced",
        "Who answers PROPERTY_TYPE_GET_FAST_RECONNECT with BASIC implements AuthenticateClientToSession, with ENHANCED "
        "GetSessionForEnhancedFastReconnect.",
        f"{_CONNECTION}queryproperty; [provider_api 13]: a client was bound to a hidden session",
        "the property is asked for, and the connection's class looked at",
        "answer OFF, or NotImplementedByProvider, until the other method is there",
        "a provider that answers PROPERTY_TYPE_GET_FAST_RECONNECT",
    ),
    Rule(
        "license-connection-is-given",
        "GetLicenseConnection returns a license connection; an error there, E_NOTIMPL too, drops the client.",
        f"{_CONNECTION}getlicenseconnection",
        "it is called in the sequence",
        "return AlwaysLicensed() if your protocol has no licensing",
    ),
    Rule(
        "licensing-failure-is-taken",
        "ProtocolComplete with any number but 1 is failure: it returns, the client is not let on, and Close follows.",
        f"{_LICENSE}protocolcomplete",
        "ProtocolComplete(0), then (2) for another client; each time SetErrorInfo and Close",
        "compare with LICENSING_SUCCEEDED; on failure tell the client if it can be told, and wait for Close",
    ),
    Rule(
        "license-packets-are-carried",
        "SendClientLicense carries each packet to the client as it is, RequestClientLicense brings its answer.",
        f"{_LICENSE}sendclientlicense; {_LICENSE}requestclientlicense",
        "two rounds, a license that has no answer, ProtocolComplete(1), and the rest of the sequence; the packets have "
        "a well-formed preamble ([MS-RDPELE] 2.2.2), what follows it is filler",
        "send the packet without a look into it; return the next packet that the client sends, one for each call",
        _ROUNDS,
    ),
    Rule(
        "license-rounds-may-fail",
        "After rounds, or in the middle of one, ProtocolComplete may say failure: it returns, and nobody is let on.",
        f"{_LICENSE}protocolcomplete; rdpprov.rcm.licensing_sequence",
        "ProtocolComplete(0) after a round, and after a packet that was not answered yet; SetErrorInfo and Close",
        "let the verdict alone decide, not that packets were exchanged",
        _ROUNDS,
    ),
    Rule(
        "license-answers-are-the-clients",
        "RequestClientLicense returns only what the client has said. If the client goes instead, it raises an HRESULT, "
        "or waits until BrokenConnection has its effect.",
        f"{_LICENSE}requestclientlicense; {_CALLBACK}brokenconnection",
        "RequestClientLicense with nothing to answer; the client leaves, and another one resets",
        "raise HResultError at the end of the client's stream; never return an empty packet for it",
        _ROUNDS,
    ),
    Rule(
        "devices-have-their-methods",
        "GetInputHandles returns an object with plug and unplug, GetVideoHandle one with plug, unplug and damaged: "
        "plain methods that return at once and raise nothing.",
        "rdpprov.api.devices.InputDevices, VideoDevice",
        "they are looked at, and a desktop is plugged in and out",
        "write plain `def` methods that only note what they are given",
    ),
    Rule(
        "input-reaches-the-session",
        "What the client types goes to the sink that is plugged in, and to no other.",
        "rdpprov.api.devices.InputDevices",
        "the client is used after ConnectNotify, and again after a reconnect",
        "keep the sink of the last plug(), and send every event there",
        f"{_USE}, and input devices",
    ),
    Rule(
        "devices-are-let-go",
        "After unplug() neither the former screen nor the former sink is used.",
        "rdpprov.api.devices.VideoDevice.unplug, InputDevices.unplug",
        "the client is used while nothing is plugged in; the former screen and sink note every use",
        "set your screen and your sink to None in unplug(), and look before every use",
    ),
    Rule(
        "logon-settings-are-not-loosened",
        "What LogonNotify returns may tighten a policy, never loosen it.",
        "rdpprov.api.ProtocolConnection.logon_notify (on Windows a provider can override policy; here it cannot)",
        "LogonNotify with policies for redirection and limits",
        "return the settings as they came, or changed in fields that policy leaves open",
    ),
    Rule(
        "secrets-are-not-told",
        "Passwords reach neither logs nor exceptions.",
        "rdpprov.errors.for_log; rdpprov.traces.format: secrets are redacted by field",
        "the client's password is looked for in all that is logged, printed or raised",
        "log names of fields, not their values",
    ),
    Rule(
        "secrets-are-not-traced",
        "Passwords reach no trace: neither trace_event's fields nor trace_wire's bytes.",
        "rdpprov.api.ProtocolConnectionCallback.trace_wire; rdpprov.traces.format: secrets are redacted by field",
        "the client's password is looked for, in UTF-8 and UTF-16, in all that is traced, also across calls",
        "leave secrets out of trace_event's fields; overwrite them in what goes to trace_wire, at equal length",
        "a provider that calls trace_event or trace_wire",
    ),
    # Reconnect
    Rule(
        "disconnect-notify-is-not-the-end",
        "After DisconnectNotify the same connection is told another session: NotifySessionId, GetInputHandles, "
        "GetVideoHandle, ConnectNotify, LogonNotify. Only Close ends it.",
        "Reconnect Sequence figure; nn-wtsprotocol-iwrdsprotocolconnection",
        "DisconnectNotify, then the same connection is attached to another session, and its client looked after",
        "in disconnect_notify only stop showing that session; release transport and devices in close",
    ),
    Rule(
        "session-id-is-the-last-one",
        "After a reconnect only the new session's id counts.",
        f"{_CONNECTION}notifysessionid; Reconnect Sequence figure",
        "the second NotifySessionId has another id; it is looked at what the client has been told after LogonNotify",
        "overwrite the id that you keep whenever NotifySessionId comes",
        "a client that is told the session's id, and yields it as `session_id`",
    ),
    # The end
    Rule(
        "broken-connection-comes",
        "When the client is gone, the provider calls BrokenConnection.",
        f"{_CALLBACK}brokenconnection",
        "the client leaves, and another one resets, between two steps and after logon",
        "keep a task that reads from the client; when it ends or fails, call callback.broken_connection()",
        _SOCKET,
    ),
    Rule(
        "broken-connection-only-then",
        "BrokenConnection does not come while the client is there.",
        f"{_CALLBACK}brokenconnection",
        "the client stays through the whole sequence",
        "call it when the client's stream is over, and only then",
    ),
    Rule(
        "any-error-code-is-taken",
        "SetErrorInfo and PreDisconnect take any number.",
        f"{_CONNECTION}seterrorinfo; {_CONNECTION}predisconnect: neither has a table of codes",
        "numbers of today, 0xDEADBEEF and 0xFFFFFFFF",
        "pass numbers through; tell the client something general where its protocol has no word for one",
    ),
    Rule(
        "close-returns",
        "Close returns, whatever state the client is in.",
        f"{_CONNECTION}close; rdpprov.rcm.configuration.Limits.close",
        "Close after a logoff, after the client has gone, and while it does not read",
        "put a time limit around goodbyes; use trio.aclose_forcefully if one passes",
    ),
    Rule(
        "close-lets-the-client-go",
        "After Close the client's transport is closed.",
        f"{_CONNECTION}close",
        "the client's end is looked at when Close has returned",
        "close the stream in close()",
        _SOCKET,
    ),
    Rule(
        "close-comes-at-any-step",
        "Close may follow every step of the sequence: no session, no logon, no license need be there.",
        "rdpprov.rcm.disconnect_sequence; time limits end a connection anywhere",
        "a client for every step, ended after it",
        "set all that close() needs in __init__",
    ),
    Rule(
        "no-callback-after-close",
        "After Close has returned nothing of the service is called; a late BrokenConnection alone is let pass.",
        "nf-wtsprotocol-iwrdsprotocollistenercallback-onconnected: the callback is released when the connection closes",
        "callbacks are noted after Close",
        "end the connection's tasks in close(), before it returns",
    ),
    Rule(
        "connections-are-independent",
        "What ends one connection leaves the others alone.",
        "nn-wtsprotocol-iwrdsprotocolconnection: one object for each client",
        "of two clients one is closed; the other is asked and used",
        "share nothing between connections that one of them closes",
    ),
    # Queries
    Rule(
        "queries-at-any-step",
        "GetProtocolStatus, GetLastInputTime, QueryProperty may come between any two steps from AcceptConnection on.",
        "nn-wtsprotocol-iwrdsprotocolconnection; rdpprov.api.ProtocolConnection",
        "all of them after each step, with every documented property, and CreateVirtualChannel",
        "answer with what is known by then, or NotImplementedByProvider",
    ),
    Rule(
        "query-answers-have-their-types",
        "Whenever it is asked, GetProtocolStatus returns ProtocolStatus, GetLastInputTime an int that is not negative, "
        "QueryProperty a sequence of PropertyValue.",
        f"{_CONNECTION}getprotocolstatus; {_CONNECTION}getlastinputtime; {_CONNECTION}queryproperty",
        "all of them after each step",
        "raise NotImplementedByProvider where there is no answer yet; never return None or a number that stands for it",
        "a provider that answers one of them",
    ),
    Rule(
        "queries-outlive-the-client",
        "A query during which the client goes, or that comes between that and Close, returns or raises an HRESULT.",
        "rdpprov.rcm.queries: the service asks until BrokenConnection has its effect",
        "all queries, over and over, while a client leaves, while another resets, and after BrokenConnection",
        "answer from what you have noted, not from the socket; catch OSError and trio.BrokenResourceError",
    ),
    Rule(
        "last-input-is-elapsed",
        "GetLastInputTime is milliseconds since the last input: not a time of day, not a clock's reading.",
        f"{_CONNECTION}getlastinputtime",
        "it is asked after the client was used",
        "return int((now - last_input) * 1000)",
        f"a provider with GetLastInputTime, and {_USE}",
    ),
    Rule(
        "unknown-property-is-not-implemented",
        "QueryProperty answers a GUID that it does not know with E_NOTIMPL.",
        f"{_CONNECTION}queryproperty",
        "a GUID that nobody has",
        "raise NotImplementedByProvider for every GUID that you do not answer",
    ),
    Rule(
        "property-answers-have-their-types",
        "The answer to a documented property has the documented number and types of values, which mean something.",
        f"{_CONNECTION}queryproperty",
        "every documented property, asked as its page says",
        "return what the property's own pack_answer makes, see rdpprov.api.properties",
        "a provider that answers a documented property",
    ),
    Rule(
        "channels-are-streams",
        "CreateVirtualChannel returns an object with send_all, receive_some and aclose, or raises an HRESULT.",
        f"{_CONNECTION}createvirtualchannel; rdpprov.api.devices.Channel",
        "a static and a dynamic channel, after each step, and names that are too long",
        "return a trio-like stream; raise HResultError for what cannot be had",
    ),
    Rule(
        "redirector-answers",
        "Every method of a redirector returns a LogonErrorRedirectorResponse other than INVALID.",
        "ne-wtsdefs-wts_logon_error_redirector_response",
        "every method, after NotifyCommandProcessCreated: there the logon desktop is at work",
        "return NOT_HANDLED where you do nothing",
        "a provider with a redirector",
    ),
    Rule(
        "redirector-takes-any-status",
        "RedirectLogonError takes any status and sub-status, also once IsUserAllowedToLogon has been asked.",
        "nf-wtsprotocol-iwrdsprotocollogonerrorredirector-redirectlogonerror; rdpprov.rcm.logon_errors",
        "every status that the page lists, those that the service tells beside them, and one that nobody knows",
        "return NOT_HANDLED for what you do not know",
        "a provider with a redirector",
    ),
    Rule(
        "connection-settings-answer",
        "GetConnectionSetting answers with a PropertyValue, SetConnectionSetting takes one of the right type; all else "
        "is an HRESULT, and E_NOTIMPL for a GUID that is not known.",
        "rdpprov.api.ProtocolConnectionSettings (no page describes it)",
        "every documented property is set and asked for, before the logon and after it; wrong types; an unknown GUID",
        "raise NotImplementedByProvider for a GUID that you do not know, HResultError(..., E_INVALIDARG) for a wrong "
        "type",
        "a connection that is a ProtocolConnectionSettings",
    ),
    Rule(
        "optional-interfaces-answer",
        "Interfaces that a connection has beside its own (Connection2, WDDM properties, RemoteFX graphics) and its "
        "shadow connection answer with their types, or with an HRESULT.",
        f"nn-wtsprotocol-iwrdsprotocolconnection2; nn-wtsprotocol-iwrdswddmiddprops; {_CONNECTION}getshadowconnection",
        "the questions of each interface that the connection is an instance of",
        "return what the base class's annotation says; do not derive from an interface that you do not mean",
    ),
    # Shadowing
    Rule(
        "shadow-start-is-answered",
        "Start is answered with InvokeTargetShadow, from a task of the provider's own, for the session that it named.",
        "nf-wtsprotocol-iwrdsprotocolshadowconnection-start; -iwrdsprotocolshadowcallback-invoketargetshadow",
        "Start on a connection that is logged on",
        "call shadow_callback.invoke_target_shadow with the server and the session that start was given, when it has "
        "returned; raise NotImplementedByProvider in start if the service is to shadow by itself",
        _SHADOW,
    ),
    Rule(
        "shadow-stop-is-taken",
        "Stop returns, on the shadower's side and on the target's; no InvokeTargetShadow follows, and clients stay.",
        "nf-wtsprotocol-iwrdsprotocolshadowconnection-stop: after an error the service drops the connection",
        "Start and Stop, DoTarget and Stop, on a connection that is logged on; then it is used as before",
        "end in stop what start or do_target began, and nothing else",
        _SHADOW,
    ),
    # With the real service
    Rule(
        "served-by-the-real-service",
        "A client is served by rdpprov's own service: it logs on, leaves, comes back to its session; each trace of it "
        "is as the sequences say.",
        "rdpprov.protocol_specs; rdpprov.traces.checker",
        "a RemoteConnectionManager with this provider, two clients one after the other, then its stop",
        "read the finding: it names the call and what was expected there",
    ),
)

BY_NAME: Mapping[str, Rule] = {rule.name: rule for rule in RULES}
"""Every rule by its name."""
