"""cloud-init's own source of an EC2 instance's data, told that this is one: no firmware of a container says so."""

from cloudinit import sources
from cloudinit.sources.DataSourceEc2 import CloudNames, DataSourceEc2


class DataSourceInstance(DataSourceEc2):
    def _get_cloud_name(self):
        return CloudNames.AWS


def get_datasource_list(depends):
    needs = (sources.DEP_FILESYSTEM, sources.DEP_NETWORK)
    return sources.list_from_depends(depends, [(DataSourceInstance, needs)])
