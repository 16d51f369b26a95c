// Keys of the page.

/** Call the action of a key; `actions` by name of the key as KeyboardEvent has it, lower case. */
export function listenToKeys(actions) {
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.matches("input, select")) return; // a field keeps its keys
    const key = event.key.toLowerCase();
    if (key === " " && target.matches("button")) return; // space presses the button that has focus
    const action = /^[1-9]$/.test(key) ? () => actions.number(Number(key)) : actions[key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}
