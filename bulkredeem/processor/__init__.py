"""A pool of workers sharing one iterator of rows; how it starts gently, keeps apart what must be, and drains."""

from bulkredeem.processor.lanes import Lanes
from bulkredeem.processor.pool import LINE, Pool
from bulkredeem.processor.stop import Stop

__all__ = ["LINE", "Lanes", "Pool", "Stop"]
