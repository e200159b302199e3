import java.io.IOException;
import java.io.Reader;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Lets in who brings the token that MSK takes: a request for kafka-cluster:Connect, presigned with Signature Version 4.
 *
 * The token is base64url without padding of the URL. What is signed, and that User-Agent is added after that, is as
 * in AWS's signers (github.com/aws/aws-msk-iam-sasl-signer-python, MSKAuthTokenProvider.py) and in the description at
 * github.com/aws/aws-msk-iam-auth, README, "Details"; how it is signed as in
 * docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
 *
 * Who has which key is in the file that the option `keys` names, read for each token. A line is
 * `access key=secret, session token or "-", principal, "connect" or "refused"`, with single blanks between.
 */
public final class MskIam implements AuthenticateCallbackHandler {
    private static final String ACTION = "kafka-cluster:Connect";
    private static final String SERVICE = "kafka-cluster";
    private static final Duration LONGEST = Duration.ofSeconds(900);
    private static final Duration SKEW = Duration.ofMinutes(5);
    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");
    private static final Set<String> UNSIGNED = Set.of("X-Amz-Signature", "User-Agent");

    private Path keys;
    private String region;

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        Map<String, ?> options = entries.get(0).getOptions();
        keys = Path.of((String) options.get("keys"));
        region = (String) options.get("region");
    }

    @Override
    public void close() {}

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback validation) {
                validation.token(checked(validation.tokenValue()));
            } else if (callback instanceof OAuthBearerTokenCallback own) {
                own.token(null); // the broker is nobody's client here
            } else {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private OAuthBearerToken checked(String token) throws IOException {
        URI url;
        try {
            url = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
        } catch (IllegalArgumentException error) {
            throw refused("not a token");
        }
        TreeMap<String, String> query = query(url);
        String host = "kafka." + region + ".amazonaws.com";
        must("https".equals(url.getScheme()) && host.equals(url.getAuthority()) && "/".equals(url.getPath()), "not for " + host);
        must(ACTION.equals(query.get("Action")), "not for " + ACTION);
        must("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "not the algorithm");
        must("host".equals(query.get("X-Amz-SignedHeaders")), "not the signed headers");

        String stamp = query.getOrDefault("X-Amz-Date", "");
        must(stamp.matches("\\d{8}T\\d{6}Z"), "no date");
        String[] credential = query.getOrDefault("X-Amz-Credential", "").split("/");
        must(credential.length == 5, "no credential");
        String scope = String.join("/", stamp.substring(0, 8), region, SERVICE, "aws4_request");
        must(String.join("/", List.of(credential).subList(1, 5)).equals(scope), "not in the scope " + scope);
        String[] known = known(credential[0]);
        must("-".equals(known[1]) ? !query.containsKey("X-Amz-Security-Token") : known[1].equals(query.get("X-Amz-Security-Token")), "not the session");
        must(signature(known[0], host, query, stamp, scope).equals(query.get("X-Amz-Signature")), "not the signature");

        Instant signed = LocalDateTime.parse(stamp, DATE).toInstant(ZoneOffset.UTC);
        String seconds = query.getOrDefault("X-Amz-Expires", "");
        must(seconds.matches("\\d{1,6}"), "no expiry");
        Duration life = Duration.ofSeconds(Long.parseLong(seconds));
        must(life.compareTo(LONGEST) <= 0, "longer than " + LONGEST.toSeconds() + " s");
        Instant now = Instant.now();
        must(now.plus(SKEW).isAfter(signed) && now.isBefore(signed.plus(life)), "expired, or not yet valid");
        must("connect".equals(known[3]), "no right to " + ACTION);
        return new Session(token, known[2], signed, signed.plus(life));
    }

    private static TreeMap<String, String> query(URI url) {
        TreeMap<String, String> found = new TreeMap<>();
        String raw = url.getRawQuery();
        for (String pair : (raw == null ? "" : raw).split("&")) {
            String[] parts = pair.split("=", 2);
            must(parts.length == 2, "no query");
            String name = URLDecoder.decode(parts[0], StandardCharsets.UTF_8);
            must(found.put(name, URLDecoder.decode(parts[1], StandardCharsets.UTF_8)) == null, name + " twice");
        }
        return found;
    }

    private String[] known(String accessKey) throws IOException {
        Properties all = new Properties();
        try (Reader file = Files.newBufferedReader(keys)) {
            all.load(file);
        }
        String found = all.getProperty(accessKey);
        must(found != null, "unknown access key");
        return found.split(" ");
    }

    private static String signature(String secret, String host, TreeMap<String, String> query, String stamp, String scope) {
        String canonicalQuery = query.entrySet().stream()
            .filter(entry -> !UNSIGNED.contains(entry.getKey()))
            .map(entry -> encoded(entry.getKey()) + "=" + encoded(entry.getValue()))
            .collect(Collectors.joining("&"));
        String canonical = String.join("\n", "GET", "/", canonicalQuery, "host:" + host, "", "host", sha256(""));
        String toSign = String.join("\n", "AWS4-HMAC-SHA256", stamp, scope, sha256(canonical));
        byte[] key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = hmac(key, part);
        }
        return HexFormat.of().formatHex(hmac(key, toSign));
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static String sha256(String text) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static byte[] hmac(byte[] key, String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void must(boolean holds, String otherwise) {
        if (!holds) {
            throw refused(otherwise);
        }
    }

    private static SaslAuthenticationException refused(String why) {
        return new SaslAuthenticationException("Access denied: " + why);
    }

    private record Session(String value, String principalName, Instant signed, Instant expires) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public long lifetimeMs() {
            return expires.toEpochMilli();
        }

        @Override
        public Long startTimeMs() {
            return signed.toEpochMilli();
        }
    }
}
