import { FlowError } from "../../core/errors.ts";
import { errorAnswer, type UserAuth, type UserIdentity } from "../../flow/http.ts";
import { allows, bearerToken, challenge, type Credentials } from "./credentials.ts";

/** Who may come in: a response turns the request away, an identity or `null` lets it pass. */
export type Guard = (
  request: Request,
  correlationId: () => string,
) => Promise<Response | UserIdentity | null>;

/** The endpoint's credentials or the user's token; both come in one header, so never both. */
export function makeGuard(
  credentials: Credentials | undefined,
  auth: UserAuth | undefined,
): Guard | null {
  if (!credentials && !auth) return null;
  return async (request, correlationId) => {
    const header = request.headers.get("authorization");
    const refuse = (message: string, hint: string) => {
      const error = { code: "http.unauthorized", message, correlation_id: correlationId() };
      return errorAnswer(401, error, { "www-authenticate": hint });
    };

    if (credentials && !allows(credentials, header)) {
      return refuse("The credentials are missing or wrong", challenge(credentials));
    }
    if (!auth) return null;
    const token = bearerToken(header);
    if (token === null) return refuse("A bearer token is needed", "Bearer");
    try {
      return await auth.verify(token);
    } catch (cause) {
      if (cause instanceof FlowError && cause.code === "http.unauthorized") {
        return refuse(cause.message, 'Bearer error="invalid_token"');
      }
      // Nobody is let in while we cannot check, and the caller's token may well be good.
      const error = {
        code: "http.unavailable",
        message: "Cannot check the token at the moment",
        correlation_id: correlationId(),
      };
      return errorAnswer(503, error, { "retry-after": "1" });
    }
  };
}
