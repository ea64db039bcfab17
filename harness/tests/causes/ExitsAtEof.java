// An echo server that serves one client at a time. At the end of the input, readLine returns null,
// and the uncaught exception ends the server. So does the exception of a reset.
// check: --service echo --shutdown abort --capacity 1 --when-full wait
// cases: disconnects/ framing/single isolation/churn malformed/empty-line
// fault: The server exits when a client connects and closes the connection
// fault: The server exits when a client connects and resets the connection
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

public class ExitsAtEof {
    public static void main(String[] arguments) throws Exception {
        InetAddress host = InetAddress.getByName(arguments[0]);
        ServerSocket listener = new ServerSocket(Integer.parseInt(arguments[1]), 128, host);
        while (true) {
            try (Socket client = listener.accept()) {
                BufferedReader input = new BufferedReader(new InputStreamReader(
                    client.getInputStream(), StandardCharsets.ISO_8859_1));
                while (!client.isClosed()) {
                    String reply = input.readLine().concat("\n");
                    client.getOutputStream().write(reply.getBytes(StandardCharsets.ISO_8859_1));
                }
            }
        }
    }
}
