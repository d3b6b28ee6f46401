/** Whom this browser is signed in as, and what that may do. */
import { signal } from "@preact/signals";
import { ApiError, ask, chooseOrganisation, chosenOrganisation, whenSignedOut } from "./api/http";

type Capabilities = Record<string, string[]>;

export interface Session {
  kind: "personal" | "api";
  organisation: string;
  userId: string;
  userName: string;
  role: string;
  isUnlimited: boolean;
  datasetCapabilities: Record<string, Capabilities>;
  orgCapabilities: Capabilities;
  viewCapabilities: Record<string, Capabilities>;
}

/** undefined until the server has said, null where there is none */
export const session = signal<Session | null | undefined>(undefined);
/** why there is no session, where that is not known to the user */
export const signedOutReason = signal("");

const PATH = "/tailrace/v1/session";

whenSignedOut(() => {
  if (session.value) signedOutReason.value = "Your session has ended.";
  session.value = null;
});

/** Ask the server who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    session.value = (await ask<Session | undefined>(PATH)) ?? null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 403 && chosenOrganisation()) {
      chooseOrganisation(""); // which the user is in no more
      return loadSession();
    }
    session.value = null;
    if (error.status !== 401) signedOutReason.value = error.message;
  }
}

/** Sign in by a token or the code of a link; raise ApiError. */
export async function signIn(credential: { token: string } | { code: string }): Promise<void> {
  chooseOrganisation("");
  session.value = await ask<Session>(PATH, { method: "POST", body: credential });
  signedOutReason.value = "";
}

/** Sign out: the session ends at the server, too. */
export async function signOut(): Promise<void> {
  await ask(PATH, { method: "DELETE" });
  chooseOrganisation("");
  signedOutReason.value = "";
  session.value = null;
}

/** Whether the session may do something in the organisation; what it may not is not shown. */
export function may(capability: string, action: string): boolean {
  const who = session.value;
  return !!who && (who.isUnlimited || (who.orgCapabilities[capability] ?? []).includes(action));
}

/** Whether the session may do something with a dataset. */
export function mayWith(dataset: string, capability: string, action: string): boolean {
  const who = session.value;
  if (!who) return false;
  if (who.isUnlimited) return true;
  return [dataset, "*"].some((name) => (who.datasetCapabilities[name]?.[capability] ?? []).includes(action));
}

/** Whether the session may send events, or make what may. */
export function maySend(): boolean {
  const held = Object.values(session.value?.datasetCapabilities ?? {});
  return may("apiTokens", "create") || held.some((capabilities) => (capabilities.ingest ?? []).includes("create"));
}
