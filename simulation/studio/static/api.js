// Asking the studio: what is posted, and the stream of what changed.

/** Post JSON; an Error with the studio's own sentence if it refuses. */
export async function post(path, body = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("the studio does not answer: is it still running in its terminal?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `the studio answered ${answer.status}`);
  return found;
}

/** Listen to what changes. Days come in pieces, and are put together here. */
export function listen(onState, onConnection) {
  let days = [];
  const stream = new EventSource("/api/events");
  stream.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    days = [...days.slice(0, state.days_from), ...state.days];
    onConnection(true);
    onState({ ...state, days });
  });
  stream.addEventListener("error", () => onConnection(false));
}
