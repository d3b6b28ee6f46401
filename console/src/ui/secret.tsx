/** A new secret, which the server does not keep and shows once. */
import { copy } from "./clipboard";
import { Dialog } from "./dialog";
import { Icon } from "./icons";

interface SecretProps {
  title: string;
  secret: string;
  onClose: () => void;
}

export function SecretDialog({ title, secret, onClose }: SecretProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p>It is shown this once: the server keeps only its hash.</p>
      <p>
        <code class="secret">{secret}</code>
      </p>
      <div class="dialog-foot">
        <button type="button" class="button" onClick={() => void copy(secret)}>
          <Icon name="copy" size={14} /> Copy
        </button>
        <button type="button" class="button primary" onClick={onClose}>
          Done
        </button>
      </div>
    </Dialog>
  );
}
