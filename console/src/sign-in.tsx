/** Signing in: by the link that the server printed, by a token, or at a provider of single sign-on. */
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "./api/http";
import { navigate, parseHash, route } from "./router";
import {
  type Credential,
  leaveForProvider,
  providerAnswer,
  session,
  signedOutReason,
  signIn,
  signInProvider,
  takeReturnHash,
} from "./session";

const PATH = "/sign-in";

export function SignInPage() {
  const [token, setToken] = useState("");
  const [provider, setProvider] = useState<string | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const isHere = route.value.path === PATH;
  const answer = isHere ? providerAnswer(route.value.params) : null;
  const code = isHere && !answer ? route.value.params.get("code") : null;

  /** Do what may be refused, and say why it was. */
  const attempt = async (act: () => Promise<void>) => {
    setBusy(true);
    setError("");
    try {
      await act();
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
      if (code || answer) navigate(PATH, {}, { replace: true });
    } finally {
      setBusy(false);
    }
  };

  const enter = (credential: Credential) =>
    attempt(async () => {
      await signIn(credential);
      if (isHere) goOn(answer ? takeReturnHash() : "");
    });

  useEffect(() => {
    if (answer) void enter({ provider: answer });
    else if (code) void enter({ code });
    else if (session.value && isHere) goOn("");
  }, [code, answer?.state]);

  useEffect(() => {
    signInProvider().then(setProvider, (failure) => {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
    });
  }, []);

  return (
    <main class="sign-in">
      <form
        class="sign-in-card"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim()) void enter({ token: token.trim() });
        }}
      >
        <div class="brand">
          <img src="./tailrace/console/icon.svg" alt="" /> <h1>Tailrace</h1>
        </div>
        {(error || signedOutReason.value) && (
          <p class={error ? "notice error" : "notice"} role="alert">
            {error || signedOutReason.value}
          </p>
        )}
        {provider !== null && (
          <>
            <button
              type="button"
              class="button primary"
              disabled={busy}
              onClick={() => void attempt(() => leaveForProvider(isHere ? "" : location.hash))}
            >
              Sign in with {provider}
            </button>
            <p class="sign-in-or muted">or by a token</p>
          </>
        )}
        <label>
          Token
          <input
            class="input mono"
            type="password"
            autocomplete="current-password"
            placeholder="xapt-… or xaat-…"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class={provider === null ? "button primary" : "button"} disabled={busy || !token.trim()}>
          {busy ? "Signing in …" : "Sign in"}
        </button>
        <p class="muted">
          Where the server runs, <code>tailrace console</code> prints a link that signs you in. The owner's token is in
          the file <code>owner-token</code> of the data directory.
        </p>
      </form>
    </main>
  );
}

/** Show what a hash names; Explore where it names nothing. */
function goOn(hash: string): void {
  const { path, params } = parseHash(hash);
  navigate(path, Object.fromEntries(params), { replace: true });
}
