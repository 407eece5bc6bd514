// The page around noVNC: it asks who wants to log on, shows the desktop, and says what goes wrong.

// Meanwhile the user types name and password.
const loading = import("./novnc.js");
loading.catch(() => {}); // said when it is needed

const CONNECT_LIMIT = 30_000; // ms, until the desktop is there: the server's own limits are longer
const STATUS_SHOWN = 3_500; // ms

const KEYS = {
  // [RFC 6143] 7.5.4: keysyms of the X Window System, by what KeyboardEvent.code calls the key
  Backspace: 0xff08, Tab: 0xff09, Enter: 0xff0d, Escape: 0xff1b,
  ArrowLeft: 0xff51, ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54,
  ControlLeft: 0xffe3, AltLeft: 0xffe9,
};

const at = (id) => document.getElementById(id);
const [form, user, password, message, connectText] = ["form", "user", "password", "message", "connect-text"].map(at);
const [session, screen, typing, keys] = ["session", "screen", "typing", "keys"].map(at);
const [clipboardPanel, clipboardText] = ["clipboard-panel", "clipboard-text"].map(at);

let viewer = null; // the module
let rfb = null;
let failure = ""; // why the connection ends; the first reason is the right one
let wasConnected = false;
let wantsToLeave = false;
let limitTimer = 0;
let statusTimer = 0;

// State

function setState(state) {
  document.body.dataset.state = state;
  session.inert = state !== "connected";
  at("logon").inert = state === "connected";
  const connecting = state === "connecting";
  at("connect").disabled = connecting;
  at("cancel").hidden = !connecting;
  user.readOnly = password.readOnly = connecting;
  connectText.textContent = connecting ? "Connecting …" : "Connect";
}

function say(text, failed = false) {
  message.textContent = text;
  message.hidden = !text;
  message.classList.toggle("failed", failed);
}

function showStatus(text) {
  const status = at("status");
  status.textContent = text;
  status.classList.add("shown");
  clearTimeout(statusTimer);
  statusTimer = setTimeout(() => status.classList.remove("shown"), STATUS_SHOWN);
}

// Connecting

async function connect() {
  say("");
  failure = "";
  wasConnected = wantsToLeave = false;
  setState("connecting");
  limitTimer = setTimeout(() => end("The server does not answer."), CONNECT_LIMIT);
  viewer = await loading.catch(() => null);
  if (failure || !viewer) {
    disconnected({ detail: { clean: false } }, failure || "The viewer cannot be loaded. Reload the page.");
    return;
  }
  const url = new URL("websocket", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let opened = false;
  const socket = new WebSocket(url);
  socket.addEventListener("open", () => { opened = true; });
  socket.addEventListener("close", (event) => { failure ||= reasonOf(event, opened); });
  const credentials = { username: user.value, password: password.value };
  rfb = new viewer.RFB(screen, socket, { credentials, shared: true });
  rfb.scaleViewport = true;
  rfb.resizeSession = true;
  rfb.background = "transparent";
  rfb.addEventListener("connect", connected);
  rfb.addEventListener("disconnect", disconnected);
  rfb.addEventListener("securityfailure", (event) => {
    failure ||= event.detail.reason ? sentence(event.detail.reason) : "The user name or the password is wrong.";
  });
  rfb.addEventListener("credentialsrequired", () => end("Enter user name and password."));
  rfb.addEventListener("serververification", () => end("The server wants to be verified in a way this page does not know."));
  rfb.addEventListener("desktopname", (event) => setName(event.detail.name));
  rfb.addEventListener("clipboard", (event) => clipboardCame(event.detail.text));
  rfb.addEventListener("bell", () => showStatus("The remote desktop rings."));
}

function reasonOf(event, opened) {
  // The browser does not tell a page why it got no WebSocket: refused and unreachable look the same.
  if (!opened) return "The server cannot be reached, or does not accept connections from this page.";
  if (event.reason) return `The server closed the connection: ${event.reason}.`;
  return wasConnected && !wantsToLeave && !event.wasClean ? "The connection was lost." : "";
}

function sentence(text) {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

function end(reason) {
  failure ||= reason;
  rfb?.disconnect();
}

function connected() {
  clearTimeout(limitTimer);
  wasConnected = true;
  password.value = "";
  setState("connected");
  showStatus("Connected");
  rfb.focus();
}

function disconnected(event, reason = failure) {
  clearTimeout(limitTimer);
  rfb = null;
  closeKeyboard();
  openClipboard(false);
  clipboardText.value = "";
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  setName("");
  setState("idle");
  const clean = event.detail.clean && wasConnected;
  const lost = wasConnected ? "The connection was lost." : "The server ended the connection.";
  const text = reason || (clean ? "You are disconnected. Log on again to return to your session." : lost);
  say(text, !clean || Boolean(reason));
  (user.value ? password : user).select();
}

function setName(name) {
  at("name").textContent = name || "Remote desktop";
  document.title = name || "Remote desktop";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (document.body.dataset.state === "idle") connect();
});
at("cancel").addEventListener("click", () => end("Cancelled."));
at("disconnect").addEventListener("click", () => {
  wantsToLeave = true;
  rfb?.disconnect();
});
at("reveal").addEventListener("click", () => {
  const shown = password.type === "password";
  password.type = shown ? "text" : "password";
  at("reveal").setAttribute("aria-pressed", shown);
});
at("server").textContent = location.host;

// Toolbar

at("ctrl-alt-del").addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});

if (!document.fullscreenEnabled) at("fullscreen").hidden = true;
at("fullscreen").addEventListener("click", () => {
  const change = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
  change.then(() => rfb?.focus()).catch(() => showStatus("The browser does not allow full screen."));
});
document.addEventListener("fullscreenchange", () => {
  const full = Boolean(document.fullscreenElement);
  document.body.classList.toggle("fullscreen", full);
  document.body.classList.remove("bar");
  at("fullscreen").setAttribute("aria-pressed", full);
});
at("handle").addEventListener("click", () => document.body.classList.toggle("bar"));
at("handle").addEventListener("pointerenter", () => document.body.classList.add("bar"));
screen.addEventListener("pointerdown", () => document.body.classList.remove("bar"), { capture: true });

// Clipboard

function openClipboard(open) {
  clipboardPanel.hidden = !open;
  at("clipboard").setAttribute("aria-expanded", open);
  if (open) clipboardText.focus();
}

function clipboardCame(text) {
  clipboardText.value = text;
  // Allowed only while the page has the focus, over TLS or on this machine; else there is the panel.
  if (document.hasFocus()) navigator.clipboard?.writeText(text).catch(() => {});
}

function sendClipboard(text) {
  clipboardText.value = text;
  rfb?.clipboardPasteFrom(text);
}

at("clipboard").addEventListener("click", () => openClipboard(clipboardPanel.hidden));
at("clipboard-close").addEventListener("click", () => {
  openClipboard(false);
  rfb?.focus();
});
clipboardPanel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") at("clipboard-close").click();
});
clipboardText.addEventListener("input", () => sendClipboard(clipboardText.value));
at("clipboard-copy").addEventListener("click", () => {
  const copied = navigator.clipboard?.writeText(clipboardText.value) ?? Promise.reject();
  copied.then(() => showStatus("Copied"), () => {
    clipboardText.select();
    showStatus("The text is selected: copy it with Ctrl+C.");
  });
});
at("clipboard-paste").addEventListener("click", () => {
  const read = navigator.clipboard?.readText?.() ?? Promise.reject();
  read.then(sendClipboard, () => {
    clipboardText.focus();
    showStatus("The browser does not allow it: paste with Ctrl+V.");
  });
});
window.addEventListener("focus", async () => {
  // Never a question out of the blue: only if it has been allowed before.
  const permission = await navigator.permissions?.query({ name: "clipboard-read" }).catch(() => null);
  if (!rfb || !wasConnected || permission?.state !== "granted") return;
  const text = await navigator.clipboard.readText().catch(() => "");
  if (text && text !== clipboardText.value) sendClipboard(text);
});

// The keyboard of touch screens: it types into a text field, and what changes there is typed over there.

const FILLING = "\u200b".repeat(16); // something to delete: an empty field has no Backspace
let typed = FILLING;
const held = new Set();

function sendKey(code) {
  rfb?.sendKey(KEYS[code], code);
  letGo();
}

function letGo() {
  for (const button of held) {
    rfb?.sendKey(KEYS[button.dataset.key], button.dataset.key, false);
    button.setAttribute("aria-pressed", false);
  }
  held.clear();
}

function hold(button) {
  if (held.has(button)) return letGo();
  rfb?.sendKey(KEYS[button.dataset.key], button.dataset.key, true);
  button.setAttribute("aria-pressed", true);
  held.add(button);
}

function typedText(value) {
  const before = [...typed];
  const after = [...value];
  let same = 0;
  while (same < before.length && same < after.length && before[same] === after[same]) same += 1;
  for (let count = before.length - same; count > 0; count -= 1) sendKey("Backspace");
  for (const character of after.slice(same)) {
    if (character === "\n") sendKey("Enter");
    else if (character !== "\u200b") {
      rfb?.sendKey(viewer.keysymdef.lookup(character.codePointAt(0)), null);
      letGo();
    }
  }
  typed = value;
}

function refill() {
  typing.value = typed = FILLING;
  typing.setSelectionRange(FILLING.length, FILLING.length);
}

function openKeyboard() {
  refill();
  keys.hidden = false;
  at("keyboard").setAttribute("aria-pressed", true);
  if (rfb) rfb.focusOnClick = false; // a tap on the desktop must not close the keyboard
  typing.focus({ preventScroll: true });
}

function closeKeyboard() {
  letGo();
  if (rfb) rfb.focusOnClick = true;
  keys.hidden = true;
  at("keyboard").setAttribute("aria-pressed", false);
  typing.blur();
}

at("keyboard").hidden = !navigator.maxTouchPoints; // whoever cannot touch the screen has a keyboard
loading.then(({ Keyboard }) => { // keys that are no text, and real keyboards on a touch device
  const hardware = new Keyboard(typing);
  hardware.onkeyevent = (keysym, code, down) => rfb?.sendKey(keysym, code, down);
  hardware.grab();
}, () => {});
typing.addEventListener("input", (event) => {
  typedText(typing.value);
  if (!event.isComposing && (typed.length < 4 || typed.length > 200)) refill();
});
typing.addEventListener("compositionend", refill);
// A tap on a button must not take the focus from the text field, or the keyboard would go.
for (const bar of [keys, at("keyboard")]) bar.addEventListener("pointerdown", (event) => event.preventDefault());
at("keyboard").addEventListener("click", () => (keys.hidden ? openKeyboard() : closeKeyboard()));
keys.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("holds" in button.dataset) hold(button);
  else sendKey(button.dataset.key);
});
