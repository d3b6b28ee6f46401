/** The users of the organisation and their roles. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { may, session } from "../session";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { SecretDialog } from "../ui/secret";
import { say } from "../ui/toast";

interface User {
  id: string;
  name: string;
  email: string;
  role: { id: string; name: string };
}

interface RoleChoice {
  id: string;
  name: string;
}

const BUILT_IN: RoleChoice[] = [
  { id: "owner", name: "Owner" },
  { id: "admin", name: "Admin" },
  { id: "user", name: "User" },
  { id: "read-only", name: "Read-only" },
  { id: "none", name: "None" },
];

export function UserSettings() {
  const users = useLoaded(() => ask<User[]>("/v2/users"), []);
  const roles = useLoaded(() => (may("rbac", "read") ? ask<RoleChoice[]>("/v2/rbac/roles") : Promise.resolve([])), []);
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<User | null>(null);
  const [secret, setSecret] = useState("");
  const known = [...BUILT_IN, ...(roles.value ?? []).filter((role) => !BUILT_IN.some((each) => each.id === role.id))];
  const setRole = async (user: User, role: string) => {
    try {
      await ask(`/v2/users/${user.id}/role`, { method: "PUT", body: { role } });
      say("Saved");
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
    users.reload();
  };
  const makeToken = async (user: User) => {
    try {
      const body = { name: "console" };
      setSecret((await ask<{ token: string }>(`/tailrace/v1/users/${user.id}/tokens`, { method: "POST", body })).token);
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <>
      {may("users", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setAdding(true)}>
            Add a user
          </button>
        </div>
      )}
      <Shown of={users}>
        {(found) => (
          <Records
            records={found}
            id={(user) => user.id}
            empty="There is no user."
            columns={[
              {
                title: "Name",
                cell: (user) => (
                  <>
                    <b>{user.name}</b> {user.id === session.value?.userId && <span class="muted">(you)</span>}
                    <div class="muted">{user.email}</div>
                  </>
                ),
              },
              {
                title: "Role",
                cell: (user) =>
                  may("users", "update") ? (
                    <select
                      class="input"
                      aria-label={`Role of ${user.name}`}
                      value={user.role.id}
                      onChange={(event) => void setRole(user, event.currentTarget.value)}
                    >
                      {known.map((role) => (
                        <option key={role.id} value={role.id}>
                          {role.name}
                        </option>
                      ))}
                    </select>
                  ) : (
                    user.role.name
                  ),
              },
              {
                title: "",
                right: true,
                cell: (user) => (
                  <span class="row">
                    {may("users", "update") && (
                      <button type="button" class="button small" onClick={() => void makeToken(user)}>
                        Make a token for them
                      </button>
                    )}
                    {may("users", "delete") && user.id !== session.value?.userId && (
                      <button type="button" class="button small danger" onClick={() => setRemoving(user)}>
                        Remove
                      </button>
                    )}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Shown>
      {adding && (
        <UserForm
          roles={known}
          onClose={() => setAdding(false)}
          onDone={() => {
            setAdding(false);
            users.reload();
          }}
        />
      )}
      {secret && <SecretDialog title="Their personal token" secret={secret} onClose={() => setSecret("")} />}
      {removing && (
        <Deletion
          title={`Remove ${removing.name}`}
          path={`/v2/users/${removing.id}`}
          action="Remove"
          said="Removed"
          onDone={users.reload}
          onClose={() => setRemoving(null)}
        >
          Their personal tokens end; API tokens that they made stay.
        </Deletion>
      )}
    </>
  );
}

function UserForm({ roles, onDone, onClose }: { roles: RoleChoice[]; onDone: () => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [role, setRole] = useState("user");
  return (
    <FormDialog
      title="Add a user"
      action="Add"
      disabled={!name.trim() || !email.trim()}
      onClose={onClose}
      onSubmit={async () => {
        await ask("/v2/users", { method: "POST", body: { name: name.trim(), email: email.trim(), role } });
        onDone();
      }}
    >
      <label>
        Name
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        Email
        <input class="input" type="email" value={email} onInput={(event) => setEmail(event.currentTarget.value)} />
      </label>
      <label>
        Role
        <select class="input" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
          {roles.map((each) => (
            <option key={each.id} value={each.id}>
              {each.name}
            </option>
          ))}
        </select>
      </label>
    </FormDialog>
  );
}
