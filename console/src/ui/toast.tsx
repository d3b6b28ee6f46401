/** A word to the user, for a few seconds. */
import { signal } from "@preact/signals";

const SHOWN_MS = 4000;
const said = signal("");
let timer = 0;

/** Show a sentence. */
export function say(text: string): void {
  said.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => {
    said.value = "";
  }, SHOWN_MS) as unknown as number;
}

export function Toast() {
  return (
    <div class="toast" role="status" aria-live="polite" data-shown={said.value !== ""}>
      {said.value}
    </div>
  );
}
