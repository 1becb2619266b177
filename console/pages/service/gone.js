/** The kinds of events by which an instance goes, or is about to. */
export const GONE = 'instance.expired,instance.released,instance.unregistered,instance.deletedWithService,instance.held';
