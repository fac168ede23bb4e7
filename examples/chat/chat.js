"use strict";

const RETRY = 250, LONGEST_RETRY = 10_000, PATIENCE = 10_000;   // milliseconds
const SHOWN = 500;                                              // messages that stay on the page

// What we sent and the server has not confirmed. It is sent again after each reconnect; the
// server knows a message by its id, so it takes each of them once.
const waiting = new Map();

let me = null;          // {name, room}, once joined
let socket = null;
let ready = false;      // the server has answered our join
let failures = 0;
let retry = 0;

const $ = (id) => document.getElementById(id);
const send = (message) => socket.send(JSON.stringify(message));

function connect() {
  clearTimeout(retry);
  ready = false;
  const former = socket;
  const fresh = socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}`);
  former?.close();
  fresh.onopen = () => { if (fresh === socket) send({do: "join", ...me}); };
  fresh.onmessage = (event) => { if (fresh === socket) received(JSON.parse(event.data)); };
  fresh.onclose = () => { if (fresh === socket) lost(); };
}

// A service that comes back must not meet all its pages in one instant: each waits a random
// while, the longer the more often it failed.
function lost() {
  ready = false;
  $("status").textContent = "reconnecting…";
  const limit = Math.min(LONGEST_RETRY, RETRY * 2 ** failures++);
  retry = setTimeout(connect, 50 + Math.random() * limit);
}

function received(message) {
  switch (message.event) {
    case "history":
      ready = true;
      failures = 0;
      $("status").textContent = `connected as ${me.name} in ${me.room}`;
      show(() => $("messages").replaceChildren(...message.messages.map(line)));
      for (const said of waiting.values()) send(said);
      break;
    case "message":
      show(() => {
        $("messages").append(line(message));
        if ($("messages").children.length > SHOWN) $("messages").firstChild.remove();
      });
      break;
    case "stored":
      waiting.delete(message.id);
      show(showWaiting);
      break;
    case "online":
      $("online").replaceChildren(...message.names.map((name) => element("li", element("bdi", name))));
  }
}

function say(text) {
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const said = {do: "say", id, room: me.room, text};
  waiting.set(id, said);
  if (ready && socket.readyState === WebSocket.OPEN) send(said);
  show(showWaiting);
  // A network that is gone may leave a connection that looks alive.
  setTimeout(() => { if (ready && waiting.has(id)) connect(); }, PATIENCE);
}

function showWaiting() {
  const lines = [...waiting.values()].map(({text}) => line({name: me.name, text}));
  $("waiting").replaceChildren(...lines);
}

// Changes the list of messages, and follows its end if that was in view.
function show(change) {
  const box = $("messages").parentElement;
  const following = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (following) box.scrollTop = box.scrollHeight;
}

// Strings become text nodes: nothing that anybody said is ever read as HTML.
function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}

function line({name, text, time}) {
  const clock = time ? new Date(time * 1000).toTimeString().slice(0, 5) : "…";
  return element("li", element("time", clock), element("b", element("bdi", name)), element("bdi", text));
}

$("who").onsubmit = (event) => {
  event.preventDefault();
  const name = $("name").value.trim(), room = $("room").value.trim();
  if (!name || !room) return;
  me = {name, room};
  $("text").disabled = false;
  $("text").focus();
  connect();
};

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  $("text").value = "";
  if (me && text) say(text);
};

window.addEventListener("online", () => { if (me && !ready) connect(); });
