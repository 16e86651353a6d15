import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import org.h2.mvstore.MVStore;

/** A MongoDB-wire server. Arguments: HOST PORT [FILE]; with FILE it keeps its data there (H2), else in memory. */
public final class Main {

    /** What the drivers in use ask for at least: MongoDB 4.4, wire version 9 (the library itself says 8). */
    private static final class Version implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
            return 9;
        }
    }

    /**
     * A kill at any moment leaves what was answered, and nothing by half.
     *
     * <p>A document and its index entries are separate maps to H2, which writes to its file whenever it likes: about
     * once a second, and when another connection asks. A kill between the two maps left a document that its index did
     * not know, and every later write of it was refused. So this one writes only between two messages.
     */
    private static final class DurableBackend extends H2Backend {
        DurableBackend(String file) {
            super(new MVStore.Builder().fileName(file).autoCommitDisabled().open());
        }

        @Override
        public synchronized Document handleMessage(MongoMessage message) {
            Document answer = super.handleMessage(message);
            getMvStore().commit();
            return answer;
        }
    }

    public static void main(String[] arguments) {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        MongoBackend backend = arguments.length > 2 ? new DurableBackend(arguments[2]) : new MemoryBackend();
        backend.version(new Version());
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind(host, port);
    }
}
