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
/** where a tab remembers, while it is at the provider, what it showed */
const RETURN_TO = "tailrace.return-to";

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

/** what signs in: a token, the code of a link, or what a provider sent this browser back with */
export type Credential = { token: string } | { code: string } | { provider: Record<string, string> };

/** Sign in; raise ApiError. */
export async function signIn(credential: Credential): Promise<void> {
  chooseOrganisation("");
  session.value = await ask<Session>(PATH, { method: "POST", body: credential });
  signedOutReason.value = "";
}

/** Return the name of the provider that one may sign in at, null where there is none; raise ApiError. */
export async function signInProvider(): Promise<string | null> {
  return (await ask<{ name: string } | null>(`${PATH}/provider`))?.name ?? null;
}

/** Leave for the provider's page, and come back to `hash` once that is done; raise ApiError. */
export async function leaveForProvider(hash: string): Promise<void> {
  const { url } = await ask<{ url: string }>(`${PATH}/provider`, { method: "POST" });
  sessionStorage.setItem(RETURN_TO, hash);
  location.assign(url);
}

/** Return the hash that this tab was left at for the provider, "" for none, and forget it. */
export function takeReturnHash(): string {
  const hash = sessionStorage.getItem(RETURN_TO) ?? "";
  sessionStorage.removeItem(RETURN_TO);
  return hash;
}

/** Return the provider's answer in the parameters of the page's address, null where there is none. */
export function providerAnswer(params: URLSearchParams): Record<string, string> | null {
  const state = params.get("state");
  if (state === null) return null;
  const answer = {
    state,
    code: params.get("code"),
    iss: params.get("iss"),
    error: params.get("error"),
    errorDescription: params.get("error_description"),
  };
  return Object.fromEntries(Object.entries(answer).filter((entry): entry is [string, string] => entry[1] !== null));
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

/** Whether the session may do something with a dataset, by any of these names: its own, and "*" for every dataset. */
export function mayWith(names: readonly string[], capability: string, action: string): boolean {
  const who = session.value;
  if (!who) return false;
  if (who.isUnlimited) return true;
  return names.some((name) => (who.datasetCapabilities[name]?.[capability] ?? []).includes(action));
}

/** Whether the session may do something with any dataset. */
export function mayWithAny(capability: string, action: string): boolean {
  return mayWith(Object.keys(session.value?.datasetCapabilities ?? {}), capability, action);
}

/** Whether the session may send events, or make what may. */
export function maySend(): boolean {
  return may("apiTokens", "create") || mayWithAny("ingest", "create");
}
