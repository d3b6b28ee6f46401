/** The clipboard, which browsers let pages use over https and on their own machine only. */
import { say } from "./toast";

/** Copy a text. */
export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("This browser lets pages copy over https only");
  }
}
