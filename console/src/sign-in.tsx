/** Signing in: by the link that the server printed, or by a token. */
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "./api/http";
import { navigate, route } from "./router";
import { session, signedOutReason, signIn } from "./session";

export function SignInPage() {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const code = route.value.path === "/sign-in" ? route.value.params.get("code") : null;

  const enter = async (credential: { token: string } | { code: string }) => {
    setBusy(true);
    setError("");
    try {
      await signIn(credential);
      if (route.value.path === "/sign-in") navigate("/explore", {}, { replace: true });
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
      if (code) navigate("/sign-in", {}, { replace: true });
    } finally {
      setBusy(false);
    }
  };

  useEffect(() => {
    if (code) void enter({ code });
    else if (session.value && route.value.path === "/sign-in") navigate("/explore", {}, { replace: true });
  }, [code]);

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
        <button type="submit" class="button primary" disabled={busy || !token.trim()}>
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
